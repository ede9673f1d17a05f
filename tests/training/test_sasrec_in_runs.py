"""SASRec through the whole product: trained, resumed, judged, recommended from, exported, refused."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import negsieve
from negsieve.config import resolve
from negsieve.data.interactions import Interactions
from negsieve.data.split import split
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import CapabilityError, DataError
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.fallback import knowing
from negsieve.evaluation.reference import popularity
from negsieve.rng import derive
from negsieve.store.run import Run
from negsieve.trained import open_trained
from negsieve.training import session
from negsieve.training.watch import Silent
from negsieve.types import Batch

MODEL = "sasrec:dim=16,max_len=8,dropout=0.1"


def walks(n_users=60, n_items=40, *, seed=0, timed=True):
    """Users who walk the circle of items by steps of 1 to 3: only what came last says what comes next."""
    rng = np.random.default_rng(derive("walks", seed=seed))
    user, item, when = [], [], []
    for one in range(n_users):
        length = int(rng.integers(1, 22))
        steps = np.cumsum(rng.integers(1, 4, length)) + rng.integers(n_items)
        _, first = np.unique(steps % n_items, return_index=True)
        steps = steps[np.sort(first)]
        user += [one] * len(steps)
        item += (steps % n_items).tolist()
        when += (rng.integers(1000) + np.arange(len(steps))).tolist()
    mixed = rng.permutation(len(user))
    log = Interactions(
        user=np.array(user)[mixed],
        item=np.array(item)[mixed],
        users=Vocabulary([f"u{number}" for number in range(n_users)], kind="user"),
        items=Vocabulary([f"i{number}" for number in range(n_items)], kind="item"),
        timestamp=np.array(when, dtype=np.float64)[mixed] if timed else None,
    )
    return split(log, "loo", name="walks")


@pytest.fixture(scope="module")
def data():
    return walks()


def settings(model=MODEL, **layers):
    train = {"epochs": 2, "batch_size": 64, "lr": 0.01, "device": "cpu", "seed": 3} | layers.pop("train", {})
    return resolve({"train": train, "model": model, "evaluate": {"metrics": ["recall@5", "ndcg@20"]}}, layers)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    session.start(settings(train={"epochs": 15}), data, path=path)
    return open_trained(path)


def test_it_learns_what_no_model_without_order_can(data, trained):
    found = Evaluator(data, metrics=("recall@5",)).evaluate(trained.model.frozen(), "test").metrics["recall@5"]
    line = Evaluator(data, metrics=("recall@5",)).evaluate(popularity(data), "test").metrics["recall@5"]
    assert found > 0.5 > 2 * line


@pytest.mark.parametrize("pads", ["masked", "reference"])
def test_resume_after_a_kill_at_any_step_is_bit_identical(data, tmp_path, pads, stopping):
    config = settings(f"{MODEL},overlap=3,pad_attention={pads}", train={"checkpoint_every": 2, "batch_size": 128})
    session.start(config, data, path=tmp_path / "whole")
    steps = Run(tmp_path / "whole").metrics()[0]["steps"]
    assert steps > 3
    for epoch, step in [(0, 1), (1, steps - 1)]:
        path = tmp_path / f"cut-{epoch}-{step}"
        with pytest.raises(stopping.Killed):
            session.start(config, data, path=path, watch=stopping.At(epoch, step))
        session.resume(path)
        assert stopping.digest(Run(path)) == stopping.digest(Run(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("sampler", "loss"),
    [
        ("uniform:n_negatives=20", "bce"),
        ("dns:candidates=4", "auto"),
        ("dns_mn:m=2,n=6,mode=one", "auto"),
        ("popularity", "bpr"),
        ("in_batch", "auto"),
        ("uniform:n_negatives=5", "softmax:temperature=0.5"),
        ("none", "full_softmax"),
        ("adasir_u", "auto"),
        ("srns", "auto"),
        ("dens", "auto"),
    ],
)
def test_it_trains_with_every_kind_of_negatives(data, tmp_path, sampler, loss):
    result = session.start(settings(sampler=sampler, loss=loss), data, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]
    assert result["metrics"]["test"]["recall@5"] >= 0


def test_what_needs_the_layers_of_a_graph_is_refused_with_what_would_serve(data, tmp_path):
    with pytest.raises(CapabilityError, match=r"cannot train sasrec.*Models that serve it: lightgcn"):
        session.start(settings(sampler="mixgcf"), data, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_held_out_items_are_in_no_history_of_training(data, tmp_path):
    """Every held-out item is replaced by another: the trained bits stay."""
    log = data.interactions
    item = np.where(data.part > 0, (log.item + 7) % data.n_items, log.item)
    other = replace(data, interactions=replace(log, item=item))
    for name, one in (("own", data), ("other", other)):
        session.start(settings(train={"patience": 0}), one, path=tmp_path / name)
    own, other = (Run(tmp_path / name).load_latest().groups["model"] for name in ("own", "other"))
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_histories_are_train_for_valid_train_and_valid_for_test_and_all_for_lists(data, trained):
    encoder, user = trained.model.frozen(), torch.arange(data.n_users)
    for parts in (("train",), ("train", "valid"), ("train", "valid", "test")):
        told = data.histories(*parts).latest(user, 8)
        wanted = encoder(Batch(user, history=told)).query
        assert torch.equal(knowing(encoder, data, *parts)(Batch(user)).query, wanted)
    metric = Evaluator(data, metrics=("recall@5",))
    seen = {part: metric.evaluate(encoder, part).per_user["recall@5"].mean() for part in ("valid", "test")}
    blind = metric.evaluate(lambda batch: encoder(batch), "test").per_user["recall@5"].mean()
    assert seen["test"] != blind  # the item before the tested one is worth reading
    table = negsieve.recommend(trained, ["u3"], k=3, exclude_seen=False)
    told = data.histories("train", "valid", "test").latest(torch.tensor([3]), 8)
    best = encoder(Batch(torch.tensor([3]), history=told)).all()[0].topk(3).indices
    assert table["item_id"].to_pylist() == [f"i{number}" for number in best.tolist()]


def test_exported_vectors_rank_as_the_run_recommends(data, trained, tmp_path):
    folder = negsieve.export(trained, tmp_path / "vectors")
    users, items = (pq.read_table(folder / f"{side}.parquet")["vector"].to_pylist() for side in ("users", "items"))
    score = np.array(users) @ np.array(items).T
    told = negsieve.recommend(trained, ["u5", "u9"], k=1, exclude_seen=False)["item_id"].to_pylist()
    assert told == [f"i{score[number].argmax()}" for number in (5, 9)]
    assert negsieve.similar(trained, ["i4"], k=2).num_rows == 2


def test_a_log_without_times_needs_a_word_and_one_without_pairs_another_model(tmp_path):
    bare = walks(timed=False)
    with pytest.raises(DataError, match=r"no timestamp column.*order=given"):
        session.start(settings(), bare, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    session.start(settings(f"{MODEL},order=given", train={"epochs": 1}), bare, path=tmp_path / "given")
    single = replace(bare, part=np.where(np.arange(len(bare.part)) < 1, 0, -1).astype(np.int8))
    with pytest.raises(DataError, match="no user of 'walks' has two rows in train"):
        session.start(settings(f"{MODEL},order=given", train={"patience": 0}), single, path=tmp_path / "run")
    flat = replace(bare, interactions=replace(bare.interactions, timestamp=np.full(len(bare.part), 3.0)))
    with pytest.raises(DataError, match="the same timestamp in every row"):
        session.start(settings(), flat, path=tmp_path / "run")


def test_explain_and_compare_take_it(data, tmp_path):
    told = negsieve.explain("dns:candidates=4", data, model=MODEL)
    assert told["cost"]["without_gradient"] == 4 and told["model"].startswith("sasrec")
    found = negsieve.compare(
        data,
        models=("mf:dim=8", MODEL),
        samplers=("uniform",),
        seeds=1,
        settings={"train": {"epochs": 1, "device": "cpu"}},
        out=tmp_path / "study",
    )
    assert {row["model"].split(":")[0] for row in found["rows"] if row.get("model")} >= {"mf", "sasrec"}


def test_an_epoch_visits_whole_windows(data, tmp_path):
    class Steps(Silent):
        seen = 0

        def step(self, epoch, step):
            self.seen += 1

    watch = Steps()
    session.start(settings(train={"epochs": 1, "batch_size": 1}), data, path=tmp_path / "run", watch=watch)
    targets = int((data.histories("train").offset.diff() - 1).clamp_min(0).sum())
    assert watch.seen == targets // 8 == Run(tmp_path / "run").metrics()[0]["steps"]
