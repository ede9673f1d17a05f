"""The loop: it learns, chooses on valid, restores the best epoch, and stops before harm."""

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.errors import ConfigError, DataError, NonFiniteLoss, UsageError
from negsieve.store.run import Run
from negsieve.trained import open_trained
from negsieve.training import session
from negsieve.training.watch import Silent


def settings(**layers):
    train = {"epochs": 12, "batch_size": 64, "lr": 0.03, "device": "cpu", "l2": 1e-3} | layers.pop("train", {})
    return resolve({"train": train, "model": "mf:dim=16", "evaluate": {"metrics": ["recall@10", "ndcg@20"]}}, layers)


@pytest.mark.parametrize(
    "model", ["mf:dim=16", "lightgcn:dim=16,layers=2", "mf:dim=16,similarity=cosine,temperature=0.2"]
)
def test_training_beats_popularity_clearly(small, tmp_path, model):
    from negsieve.evaluation.evaluator import Evaluator
    from negsieve.evaluation.reference import popularity

    result = session.start(settings(model=model, sampler="dns:candidates=4"), small, path=tmp_path / "run")
    line = Evaluator(small, metrics=("recall@10",)).evaluate(popularity(small), "test").metrics["recall@10"]
    assert result["metrics"]["test"]["recall@10"] > 1.5 * line


@pytest.mark.parametrize("loss", ["bpr", "soft_bpr:beta=0.2", "bce", "hinge", "softmax:temperature=0.5"])
@pytest.mark.parametrize("sampler", ["uniform:n_negatives=3", "in_batch", "softmax_v:n=8", "pdns:candidates=4"])
def test_every_loss_trains_with_every_kind_of_negatives(small, tmp_path, loss, sampler):
    result = session.start(settings(loss=loss, sampler=sampler, train={"epochs": 2}), small, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]
    assert 0 <= result["false_negative_rate"] < 0.5


def test_the_best_epoch_on_valid_is_what_is_restored_and_measured(small, tmp_path):
    run = session.start(settings(train={"epochs": 40, "lr": 0.3, "patience": 3}), small, path=tmp_path / "run")
    curve = [record["valid"]["ndcg@20"] for record in Run(tmp_path / "run").metrics()]
    assert run["best_epoch"] == int(np.argmax(curve))
    assert run["epochs"] == run["best_epoch"] + 1 + 3 < 40
    assert run["metrics"]["valid"]["ndcg@20"] == pytest.approx(max(curve), abs=1e-12)
    assert run["selection"] == {"metric": "ndcg@20", "part": "valid"}


def test_validation_starts_and_repeats_when_told_to_and_ends_with_the_last_epoch(small, tmp_path):
    train = {"epochs": 9, "validate_from": 3, "validate_every": 2, "patience": 0}
    run = session.start(settings(train=train), small, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert [one["epoch"] for one in records if "valid" in one] == [3, 5, 7, 8]
    assert run["best_epoch"] >= 3
    run = session.start(settings(train={"epochs": 2, "validate_from": 9}), small, path=tmp_path / "short")
    assert run["best_epoch"] == 1


def test_choosing_on_test_is_possible_and_stamped(small, tmp_path):
    result = session.start(settings(train={"epochs": 3, "select_on": "test"}), small, path=tmp_path / "run")
    assert result["stamps"] == ["chosen on test"]
    assert "test" in Run(tmp_path / "run").metrics()[0]


def test_nothing_held_out_reaches_training(small, tmp_path):
    """Held-out rows can be anything at all without changing a bit of the trained model."""
    rng = np.random.default_rng(5)
    part = small.part.copy()
    held = np.flatnonzero(part > 0)
    log = small.interactions
    other = type(log)(
        user=log.user, item=np.where(part > 0, rng.permutation(log.item), log.item), users=log.users, items=log.items
    )
    fixed = settings(sampler="dns:candidates=4", train={"epochs": 2, "patience": 0})
    models = []
    for name, dataset in (("real", small), ("other", Dataset("other", other, part))):
        session.start(fixed, dataset, path=tmp_path / name)
        models.append(Run(tmp_path / name).load_latest().groups["model"])
    assert len(held) and all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_a_non_finite_loss_stops_before_the_optimiser_and_names_the_stage(small, tmp_path):
    class Poison(Silent):
        def __init__(self):
            self.trainer = None

    config = settings(train={"lr": 1e30, "optimiser": "sgd", "epochs": 3})
    with pytest.raises(NonFiniteLoss, match=r"epoch \d+, step \d+, sampler uniform: the first bad tensor is the"):
        session.start(config, small, path=tmp_path / "run", watch=Poison())
    newest = Run(tmp_path / "run").load_latest()
    assert newest is None or all(torch.isfinite(value).all() for value in newest.groups["model"].values())


def test_a_user_who_has_seen_everything_is_refused_by_name_or_skipped(small, tmp_path):
    log = small.interactions
    extra = np.arange(small.n_items)
    user = np.concatenate([log.user[log.user != 3], np.full(small.n_items, 3)])
    item = np.concatenate([log.item[log.user != 3], extra])
    part = np.concatenate([small.part[log.user != 3], np.zeros(small.n_items, np.int8)])
    full = Dataset("full", type(log)(user=user, item=item, users=log.users, items=log.items), part)
    with pytest.raises(DataError, match="the first is 'u3'"):
        session.start(settings(), full, path=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    result = session.start(settings(train={"full_users": "skip", "epochs": 2}), full, path=tmp_path / "skipped")
    assert np.isfinite(result["metrics"]["test"]["ndcg@20"])


def test_without_validation_it_says_what_to_do(small, tmp_path):
    bare = Dataset("bare", small.interactions, np.where(small.part == 1, 0, small.part).astype(np.int8))
    with pytest.raises(ConfigError, match="valid_from_train"):
        session.start(settings(), bare, path=tmp_path / "run")
    result = session.start(settings(train={"patience": 0, "epochs": 2}), bare, path=tmp_path / "run")
    assert result["selection"]["part"] is None and result["best_epoch"] == 1


def test_weights_served_are_the_weights_measured(small, tmp_path):
    result = session.start(settings(train={"epochs": 4}), small, path=tmp_path / "run")
    from negsieve.evaluation.evaluator import Evaluator

    trained = open_trained(tmp_path / "run")
    again = Evaluator(trained.dataset, metrics=("ndcg@20",)).evaluate(trained.model.frozen(), "test")
    assert again.metrics["ndcg@20"] == result["metrics"]["test"]["ndcg@20"]


def test_a_device_that_is_not_there_is_named(small, tmp_path):
    with pytest.raises(UsageError, match="device 'gpu'"):
        session.start(settings(train={"device": "gpu"}), small, path=tmp_path / "run")


@pytest.mark.parametrize(
    ("model", "sampler"), [("mf:dim=16", "uniform"), ("lightgcn:dim=16,layers=2", "mixgcf:candidates=4")]
)
def test_bf16_trains_to_about_the_same(small, tmp_path, model, sampler):
    parts = {"model": model, "sampler": sampler}
    full = session.start(settings(**parts), small, path=tmp_path / "fp32")
    half = session.start(settings(train={"precision": "bf16"}, **parts), small, path=tmp_path / "bf16")
    for run in (full, half):
        assert run["metrics"]["test"]["recall@10"] > 0.2
    assert abs(full["metrics"]["valid"]["ndcg@20"] - half["metrics"]["valid"]["ndcg@20"]) < 0.1


def test_drop_last_drops_the_incomplete_batch_only(small, tmp_path):
    session.start(settings(train={"drop_last": True, "epochs": 1}), small, path=tmp_path / "run")
    assert Run(tmp_path / "run").metrics()[0]["steps"] == len(small.rows("train")) // 64
