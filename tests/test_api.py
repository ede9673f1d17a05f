"""The main job from Python: one call each, an estimator, and the parts in somebody else's loop."""

from __future__ import annotations

import gc
import json
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import negsieve
from negsieve import Batch, Dot, Recommender, losses, named, streams
from negsieve.api import fresh_path
from negsieve.config import resolve
from negsieve.data.dataset import PARTS, Dataset
from negsieve.errors import CannotCreate, Interrupted, MissingInput, UsageError
from negsieve.evaluation.evaluator import Evaluator
from negsieve.samplers.draw import Weighted
from negsieve.scorers import Towers
from negsieve.store.run import Run, check_name
from negsieve.training.watch import Silent

SETTINGS = {"train": {"epochs": 2, "batch_size": 64, "lr": 0.05, "device": "cpu"}}
SETTINGS |= {"evaluate": {"metrics": ["recall@10", "ndcg@20"], "test_metrics": ["coverage@20"]}}


@pytest.fixture(scope="module")
def frame(small) -> pd.DataFrame:
    log = small.interactions
    users, items = np.array(list(log.users), dtype=object), np.array(list(log.items), dtype=object)
    return pd.DataFrame(
        {"user_id": users[log.user], "item_id": items[log.item], "split": np.array(PARTS, dtype=object)[small.part]}
    )


@pytest.fixture(scope="module")
def fitted(small, tmp_path_factory) -> Recommender:
    out = tmp_path_factory.mktemp("api") / "run"
    return Recommender(model="mf:dim=8", sampler="dns:candidates=4", settings=SETTINGS, out=out).fit(small)


def figures(result: dict) -> dict:
    return {key: result[key] for key in ("best_epoch", "metrics", "false_negative_rate", "loss", "seed", "data_hash")}


def test_a_frame_and_a_file_of_it_train_to_the_same_figures(frame, tmp_path):
    file = tmp_path / "my log (1).csv"
    frame.to_csv(file, index=False)
    given = {"model": "mf:dim=8", "sampler": "dns:candidates=4", "settings": SETTINGS}
    one = negsieve.train(frame, out=tmp_path / "frame", **given)
    other = negsieve.train(file, out=tmp_path / "file", **given)
    assert figures(one) == figures(other)
    assert set(one["metrics"]) == {"valid", "test"} and one["biased"] is False
    assert Run(tmp_path / "file").config()["data"]["source"] == str(file)
    assert "memory" in Run(tmp_path / "frame").config()["data"]["source"]
    assert (tmp_path / "file" / "report.html").is_file()


def test_arguments_beat_settings(small, tmp_path):
    found = negsieve.train(
        small, model="mf:dim=4", loss="bce", epochs=1, seed=3, settings=SETTINGS | {"loss": "hinge"}, out=tmp_path / "r"
    )
    assert (found["loss"], found["epochs"], found["seed"]) == ("bce", 1, 3)


def test_the_same_call_again_gives_the_finished_run_and_other_data_are_refused(fitted, small, tmp_path):
    path = fitted.trained.run.path
    given = {"model": "mf:dim=8", "sampler": "dns:candidates=4", "loss": "auto", "settings": SETTINGS}
    assert negsieve.train(small, out=path, **given) == fitted.result_
    other = Dataset("other", small.interactions, np.where(small.part == 2, 0, small.part).astype(np.int8))
    with pytest.raises(CannotCreate, match="holds a run on other data"):
        negsieve.train(other, out=path, **given)
    with pytest.raises(CannotCreate, match="another configuration"):
        negsieve.train(small, out=path, **given | {"model": "mf:dim=9"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "mf:dims=8"}, "no parameter 'dims'"),
        ({"sampler": "dnss"}, "Did you mean 'dns'"),
        ({"loss": "bprr"}, "Did you mean 'bpr'"),
        ({"settings": {"train": {"metric": "ndgc@20"}}}, "Did you mean 'ndcg'"),
        ({"settings": {"sampler": "os.path:join"}}, "code outside negsieve"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_written(small, tmp_path, given, said):
    with pytest.raises(UsageError, match=said):
        negsieve.train(small, out=tmp_path / "no", **given)
    assert not (tmp_path / "no").exists()


def test_folders_are_named_after_whatever_the_data_are_called(small):
    odd = Dataset("my log (é)/../x", small.interactions, small.part)
    path = fresh_path(resolve({"sampler": "shop.samplers:nearby"}), odd)
    assert path.parent == Path("runs") and check_name(path.name)
    with pytest.raises(negsieve.errors.UsageError, match=r"run name '\.\./x y'"):
        fresh_path(resolve({"name": "../x y"}), odd)
    assert fresh_path(resolve(), small).name.startswith("small-mf-uniform-")


def test_the_estimator_recommends_and_finds_similar_items(fitted, small):
    lists = fitted.recommend(["u3", "u1"], k=4)
    assert lists["user_id"].to_pylist() == ["u3"] * 4 + ["u1"] * 4
    assert lists.equals(negsieve.recommend(fitted.trained.run.path, ["u3", "u1"], k=4))
    assert fitted.recommend(k=1, exclude_seen=False).num_rows == small.n_users
    assert fitted.similar(["i2"], k=3)["similar_id"].to_pylist().count("i2") == 0
    assert fitted.similar(["i2"], k=3).num_rows == 3


def test_evaluate_gives_the_run_s_own_figures_again(fitted):
    again = fitted.evaluate()
    assert again["metrics"] == fitted.result_["metrics"]["test"]
    assert again["groups"] == fitted.result_["groups"]["test"]
    assert fitted.evaluate(part="valid")["metrics"] == fitted.result_["metrics"]["valid"]
    assert negsieve.evaluate(fitted.trained.run.path)["metrics"] == again["metrics"]


def test_evaluate_measures_what_is_asked_and_no_more(fitted):
    assert list(fitted.evaluate(metrics=["mrr@3", "auc"])["metrics"]) == ["mrr@3", "auc"]
    assert list(fitted.evaluate(metrics="hr@1,gini@5")["metrics"]) == ["hr@1", "gini@5"]
    with pytest.raises(UsageError, match="no metric is called 'mrrr'"):
        fitted.evaluate(metrics=["mrrr@3"])
    with pytest.raises(UsageError, match="wanted 'valid' or 'test'"):
        fitted.evaluate(part="train")


def test_sampled_evaluation_is_labelled_and_refuses_lists(fitted):
    run = fitted.trained.run.path
    found = negsieve.evaluate(run, protocol="sampled", n_negatives=20, metrics=["ndcg@20", "auc"])
    assert found["biased"] is True and found["protocol"] == "sampled"
    assert list(found["metrics"]) == ["sampled20/ndcg@20", "sampled20/auc"]
    assert found["metrics"]["sampled20/ndcg@20"] > fitted.result_["metrics"]["test"]["ndcg@20"]
    with pytest.raises(UsageError, match="makes no lists to measure coverage@5"):
        negsieve.evaluate(run, protocol="sampled", metrics=["coverage@5"])


def test_a_run_that_reports_sampled_figures_still_chooses_by_full_ranking(small, tmp_path):
    base = {"train": SETTINGS["train"] | {"epochs": 4}}
    full = negsieve.train(small, model="mf:dim=8", settings=base, out=tmp_path / "full")
    sampled = negsieve.train(
        small, model="mf:dim=8", settings=base | {"evaluate": {"protocol": "sampled"}}, out=tmp_path / "sampled"
    )
    curves = [[record["valid"] for record in Run(tmp_path / name).metrics()] for name in ("full", "sampled")]
    assert curves[0] == curves[1] and "ndcg@20" in curves[1][0]
    assert sampled["best_epoch"] == full["best_epoch"] and sampled["biased"] is True
    assert set(sampled["metrics"]) == {"valid", "test"}
    assert all(name.startswith("sampled99/") for part in sampled["metrics"].values() for name in part)
    assert {"sampled99/ndcg@20", "sampled99/auc"} <= set(Run(tmp_path / "sampled").per_user().column_names)
    assert negsieve.evaluate(tmp_path / "sampled", protocol="full")["metrics"] == full["metrics"]["test"]


def test_export_save_and_load(fitted, tmp_path):
    folder = fitted.export(tmp_path / "vectors")
    assert pq.read_table(folder / "items.parquet").num_rows == fitted.trained.dataset.n_items
    kept = fitted.save(tmp_path / "kept")
    again = Recommender.load(kept)
    assert again.result_ == fitted.result_ | {"run": str(kept)}
    assert again.recommend(["u1"], k=3).equals(fitted.recommend(["u1"], k=3))
    with pytest.raises(CannotCreate, match="exists already"):
        fitted.save(kept)


def test_without_a_folder_the_run_lives_as_long_as_its_recommender(small):
    one = Recommender(model="mf:dim=4", epochs=1, settings=SETTINGS).fit(small)
    path = one.trained.run.path
    assert path.is_dir() and one.result_["epochs"] == 1
    del one
    gc.collect()
    assert not path.exists()


def test_what_is_not_fitted_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"call fit\(data\) first"):
        Recommender().recommend()
    with pytest.raises(MissingInput):
        Recommender.load(tmp_path)


class StopAt(Silent):
    def step(self, epoch, step):
        if epoch == 1:  # steps may come in blocks
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)


def test_a_sampler_from_outside_must_be_named_again_to_go_on(small, tmp_path, monkeypatch):
    module = types.ModuleType("shop_of_the_test")
    module.plain = lambda n_items, *, seen: Weighted(n_items, seen=seen)
    monkeypatch.setitem(sys.modules, "shop_of_the_test", module)
    name = "shop_of_the_test:plain"
    given = {"model": "mf:dim=4", "sampler": name, "settings": SETTINGS}
    with pytest.raises(Interrupted, match="--resume"):
        negsieve.train(small, out=tmp_path / "run", watch=StopAt(), **given)
    with pytest.raises(UsageError, match=f"{name}.*code outside negsieve.*--sampler {name}"):
        negsieve.resume(tmp_path / "run")
    resumed = negsieve.resume(tmp_path / "run", sampler=name)
    assert figures(resumed) == figures(negsieve.train(small, out=tmp_path / "whole", **given))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["sampler"] == name


@pytest.mark.parametrize("method", ["dns", "uniform"])
def test_the_parts_work_in_somebody_else_s_loop(small, method):
    """The loop of docs/architecture.md: plain torch, no trainer, no configuration."""
    generator = torch.Generator().manual_seed(0)
    user_table, item_table = (
        torch.nn.Parameter(0.1 * torch.randn(n, 16, generator=generator)) for n in (small.n_users, small.n_items)
    )
    sampler = {
        "dns": lambda: named.dns(small.n_items, candidates=8, seen=small.train),
        "uniform": lambda: named.uniform(small.n_items, seen=small.train, n_negatives=2),
    }[method]()
    optimiser = torch.optim.Adam([user_table, item_table], lr=0.02)
    evaluator = Evaluator(small, metrics=("recall@10",))

    def recall() -> float:
        return evaluator.evaluate(Towers(user_table.detach(), item_table.detach()), "test").metrics["recall@10"]

    before, (users, items) = recall(), small.pairs("train")
    for step in range(120):
        rows = torch.randint(len(users), (64,), generator=generator)
        user, positive = users[rows], items[rows]
        scorer = Dot(user_table[user], item_table)
        negatives = sampler.sample(Batch(user, positive), scorer, streams("negatives", step))
        score = scorer.score(positive[:, None])[:, 0]
        loss = losses.bpr(score, scorer.score(negatives.item), negatives).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert recall() > 1.5 * before
