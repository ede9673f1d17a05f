"""Models of two domains through the whole product: trained, resumed, judged, recommended from, refused."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import negsieve
from negsieve.config import resolve
from negsieve.errors import UsageError
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.fallback import knowing
from negsieve.scorers import Crossed
from negsieve.store.run import Run
from negsieve.trained import open_trained
from negsieve.training import session
from negsieve.types import Batch

SHAPE = "dim=16,max_len=8,dropout=0.1,order=given"
MODELS = {"sasrec_cdr": f"sasrec_cdr:{SHAPE}", "dasl": f"dasl:{SHAPE}"}


@pytest.fixture(scope="module")
def data(domains):
    return domains()


def settings(model, **layers):
    train = {"epochs": 2, "batch_size": 64, "lr": 0.01, "device": "cpu", "seed": 3} | layers.pop("train", {})
    first = {"model": model, "sampler": "uniform:n_negatives=5", "loss": "bce"}
    return resolve({"train": train, "evaluate": {"metrics": ["recall@5", "ndcg@20"]}}, first, layers)


@pytest.fixture(scope="module", params=list(MODELS))
def trained(request, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    session.start(settings(MODELS[request.param], train={"epochs": 25}), data, path=path)
    return open_trained(path)


def test_it_learns_what_no_model_of_one_domain_can(data, trained, tmp_path):
    metric = Evaluator(data, metrics=("recall@5",))
    found = metric.evaluate(trained.model.frozen(), "test").metrics["recall@5"]
    one = f"sasrec:{SHAPE},similarity=cosine,temperature=0.2"
    session.start(settings(one, train={"epochs": 25}), data, path=tmp_path / "run")
    alone = metric.evaluate(open_trained(tmp_path / "run").model.frozen(), "test").metrics["recall@5"]
    assert found > 0.6 > 2 * alone


@pytest.mark.parametrize("name", list(MODELS))
def test_resume_after_a_kill_at_any_step_is_bit_identical(data, tmp_path, name, stopping):
    config = settings(f"{MODELS[name]},overlap=3", train={"checkpoint_every": 2, "batch_size": 128})
    session.start(config, data, path=tmp_path / "whole")
    steps = Run(tmp_path / "whole").metrics()[0]["steps"]
    assert steps > 3
    for epoch, step in [(0, 1), (1, steps - 1)]:
        path = tmp_path / f"cut-{epoch}-{step}"
        with pytest.raises(stopping.Killed):
            session.start(config, data, path=path, watch=stopping.At(epoch, step))
        session.resume(path)
        assert stopping.digest(Run(path)) == stopping.digest(Run(tmp_path / "whole"))


@pytest.mark.parametrize("name", list(MODELS))
def test_half_precision_trains_too(data, tmp_path, name):
    session.start(settings(MODELS[name], train={"precision": "bf16"}), data, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize(
    ("sampler", "loss"),
    [
        ("uniform:n_negatives=20", "bce"),
        ("uniform:n_negatives=20", "gbce"),
        ("uniform:n_negatives=5", "softmax:temperature=0.5"),
        ("dns_mn:m=2,n=6,mode=one", "auto"),
        ("none", "full_softmax"),
        ("srns", "auto"),
    ],
)
def test_it_trains_with_every_kind_of_negatives_and_loss(data, tmp_path, name, sampler, loss):
    result = session.start(settings(MODELS[name], sampler=sampler, loss=loss), data, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]
    assert result["metrics"]["test"]["recall@5"] >= 0


@pytest.mark.parametrize("name", list(MODELS))
def test_nothing_held_out_and_no_source_row_after_it_reaches_training(data, tmp_path, name):
    """Every held-out item, and every source item after the last train row, is another: the trained bits stay."""
    log, beside = data.interactions, data.aside
    item = np.where(data.part > 0, (log.item + 7) % data.n_items, log.item)
    last = np.zeros(data.n_users, dtype=np.int64)
    np.maximum.at(last, log.user[data.part == 0], beside.target[data.part == 0])
    later = beside.row > last[beside.user]
    assert later.any()
    elsewhere = np.where(later, (beside.item + 5) % beside.n_items, beside.item)
    other = replace(data, interactions=replace(log, item=item), aside=replace(beside, item=elsewhere))
    for path, one in (("own", data), ("other", other)):
        session.start(settings(MODELS[name], train={"patience": 0}), one, path=tmp_path / path)
    own, other = (Run(tmp_path / path).load_latest().groups["model"] for path in ("own", "other"))
    assert all(torch.equal(own[one], other[one]) for one in own)


def test_source_rows_are_known_up_to_what_is_judged(data, trained):
    encoder, user = trained.model.frozen(), torch.arange(data.n_users)
    for parts in (("train",), ("train", "valid"), ("train", "valid", "test")):
        aside = data.asides(*parts, order="given")
        found = knowing(encoder, data, *parts)(Batch(user))
        told = data.histories(*parts, order="given").latest(user, 8)
        wanted = encoder.reading(data.histories("train", order="given"), aside)(Batch(user, history=told))
        assert isinstance(found, Crossed) and torch.equal(found.query, wanted.query)
        assert torch.equal(found.met, aside.latest(user) >= 0)
    table = negsieve.recommend(trained, ["u3"], k=3, exclude_seen=False)
    best = knowing(encoder, data, "train", "valid", "test")(Batch(torch.tensor([data.users.numbers(["u3"])[0]])))
    names = [data.items[int(number)] for number in best.all()[0].topk(3).indices]
    assert table["item_id"].to_pylist() == names


def test_exported_vectors_rank_as_the_run_recommends(trained, tmp_path):
    folder = negsieve.export(trained, tmp_path / "vectors")
    users, items = (pq.read_table(folder / f"{side}.parquet")["vector"].to_pylist() for side in ("users", "items"))
    users, items = (np.array(side) / np.linalg.norm(side, axis=1, keepdims=True) for side in (users, items))
    best = [trained.dataset.items[int(number)] for number in (users @ items.T).argmax(1)[[5, 9]]]
    names = [trained.dataset.users[number] for number in (5, 9)]
    assert negsieve.recommend(trained, names, k=1, exclude_seen=False)["item_id"].to_pylist() == best
    assert negsieve.similar(trained, ["toy4"], k=2).num_rows == 2


@pytest.mark.parametrize("name", list(MODELS))
def test_a_run_without_a_source_domain_is_refused_before_anything_is_written(data, tmp_path, name):
    with pytest.raises(UsageError, match="without one: name both, such as --target toy --source game"):
        session.start(settings(MODELS[name]), replace(data, aside=None), path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
