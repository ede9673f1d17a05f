"""Runs on one domain of several: what is snapshotted, chosen, reported and recommended."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import negsieve
from negsieve import Recommender
from negsieve.data import snapshot
from negsieve.errors import Interrupted, UsageError
from negsieve.training.watch import Silent

SETTINGS = {
    "data": {"duplicates": "keep"},
    "train": {"epochs": 3, "batch_size": 32, "device": "cpu", "select_by": "sampled", "metric": "ndcg@10"},
    "evaluate": {"metrics": ["hr@5", "hr@10"], "test_metrics": ["coverage@10"], "n_negatives": 5, "ties": "half"},
}
DRAWN = {"sampled5/ndcg@10", "sampled5/hr@5", "sampled5/hr@10"}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(5)
    rows = [
        (f"u{user}", f"{domain[0]}{rng.integers(70)}", place, domain)
        for user in range(40)
        for place, domain in enumerate(rng.choice(["toy", "game"], rng.integers(4, 20)))
    ]
    names = ("user_id", "item_id", "position", "domain")
    return pa.table({name: list(side) for name, side in zip(names, zip(*rows, strict=True), strict=True)})


@pytest.mark.parametrize("model", ["mf:dim=8", "sasrec_cdr:dim=8,max_len=10"])
def test_a_run_chooses_by_the_sampled_metric_and_reports_both(table, model, tmp_path):
    given = {"target": "toy", "source": "game", "settings": SETTINGS, "out": tmp_path / "run"}
    result = negsieve.train(table, model=model, **given)
    assert result["protocol"] == "both" and not result["biased"] and result["n_negatives"] == 5
    assert result["selection"] == {"metric": "sampled5/ndcg@10", "part": "valid"}
    assert set(result["metrics"]["test"]) == DRAWN | {"ndcg@10", "hr@5", "hr@10", "coverage@10"}
    groups = result["groups"]["test"]
    assert set(groups) == {"warm", "cold_users", "cold_items", "no_source"} and groups["no_source"]["users"] == 0
    assert groups["cold_items"]["pairs"] > 0, "the test wants some"
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = max(records, key=lambda one: one["valid"]["sampled5/ndcg@10"])
    assert best["epoch"] == result["best_epoch"] and set(best["valid"]) == DRAWN
    page = (tmp_path / "run" / "report.html").read_text()
    assert "test, cold items" in page and "sampled5/ndcg@10" in page
    again = negsieve.evaluate(tmp_path / "run", metrics="hr@5,hr@10", protocol="both")
    assert again["metrics"]["sampled5/hr@10"] == result["metrics"]["test"]["sampled5/hr@10"]
    fitted = Recommender.load(tmp_path / "run")
    data = fitted.trained.dataset
    assert data.aside.domains == ("game",) and data.hash == result["data_hash"]
    lists = fitted.recommend(["u1", "u2"], k=5)
    assert all(item.startswith("t") for item in lists["item_id"].to_pylist()), "recommended is the target's catalogue"
    left_out = [data.users[int(user)] for user in data.cold_users.nonzero().flatten()]
    assert left_out, "the test wants somebody whom leave-one-out cannot judge"
    lists = fitted.recommend(left_out, k=data.n_items)
    assert set(lists["by"].to_pylist()) == {"popularity"}
    listed = set(zip(lists["user_id"].to_pylist(), lists["item_id"].to_pylist(), strict=True))
    had = {(data.users[user], data.items[item]) for user, item in zip(*data_rows(data), strict=True)}
    assert not listed & had and len(listed) + sum(user in left_out for user, _ in had) == len(left_out) * data.n_items


def data_rows(data):
    return data.interactions.user.tolist(), data.interactions.item.tolist()


class Stopping(Silent):
    def epoch(self, record):
        raise Interrupted("stopped", signal_number=2)


def test_a_resumed_run_has_the_source_rows_again(table, tmp_path):
    given = {"model": "sasrec_cdr:dim=8,max_len=10", "target": "toy", "source": ["game"], "settings": SETTINGS}
    whole = negsieve.train(table, out=tmp_path / "whole", **given)
    settings = {**SETTINGS, "train": {**SETTINGS["train"], "checkpoint_seconds": 0}}
    with pytest.raises(Interrupted):
        negsieve.train(table, out=tmp_path / "cut", watch=Stopping(), **{**given, "settings": settings})
    assert snapshot.load(tmp_path / "cut" / "data").aside is not None
    resumed = negsieve.resume(tmp_path / "cut")
    for name in ("metrics", "groups", "best_epoch", "data_hash"):
        assert resumed[name] == whole[name]


def test_the_command_line_says_the_same(table, tmp_path, capfd):
    from negsieve.cli.main import main

    pyarrow.csv.write_csv(table, tmp_path / "log.csv")
    words = ["train", tmp_path / "log.csv", "--model", "mf:dim=8", "--target", "toy", "--source", "game", "--json"]
    words += ["--epochs", "2", "--out", tmp_path / "run", "--set", "data.duplicates=keep"]
    assert main([str(word) for word in words]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["groups"]["test"]["no_source"]["users"] == 0
    assert main([*map(str, words[:2]), "--target", "toys", "--out", str(tmp_path / "b")]) != 0
    assert "no domain 'toys' in the data" in capfd.readouterr().err
    assert main([*map(str, words[:2]), "--source", "game", "--out", str(tmp_path / "c")]) != 0
    assert "data.target" in capfd.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run"), "--target", "toy"]) != 0
    assert "leave out --target" in capfd.readouterr().err


def test_a_model_of_several_domains_wants_a_source(table, tmp_path):
    with pytest.raises(UsageError, match="source"):
        negsieve.train(table, model="sasrec_cdr", target="toy", settings=SETTINGS, out=tmp_path / "run")
