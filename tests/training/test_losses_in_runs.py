"""Losses in whole runs: what cannot train is refused at the start, what can trains, resumes and reports."""

from __future__ import annotations

import json

import pytest
import torch

from negsieve.config import resolve
from negsieve.errors import CapabilityError, UsageError
from negsieve.losses import LOSSES
from negsieve.report.run import run_page
from negsieve.store.run import Run
from negsieve.training import session

TRAIN = {"epochs": 2, "batch_size": 256, "patience": 0, "device": "cpu", "lr": 0.05}


def run(small, path, **parts):
    parts["train"] = TRAIN | parts.get("train", {})
    fixed = {"model": "mf:dim=4", "evaluate": {"metrics": ["recall@20"], "test_metrics": []}}
    return session.start(resolve(fixed | parts), small, path=path)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains(small, tmp_path, loss):
    sampler = "sl_at_k:n_negatives=24,every=2" if loss == "sl_at_k" else "uniform:n_negatives=4"
    result = run(small, tmp_path / "run", sampler=sampler, loss=loss, train={"epochs": 1})
    assert result["loss"] == loss and result["metrics"]["test"]["recall@20"] > 0


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("mf:dim=4", "auto"),
        ("lightgcn:dim=4,layers=1", "enmf"),
        ("lightgcn:dim=4,layers=1", "full_softmax:exclude=train"),
    ],
)
def test_a_run_without_negatives_trains_and_reports(small, tmp_path, model, loss):
    result = run(small, tmp_path / "run", model=model, sampler="none", loss=loss, train={"epochs": 6, "l2": 0.001})
    assert result["loss"].startswith("full_softmax" if loss == "auto" else loss[:4])
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["hardness"] is None and last["false_negative_rate"] is None and last["coverage"] == 0
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert last["loss"] < first["loss"]
    assert run_page(tmp_path / "run").is_file()


@pytest.mark.parametrize("loss", ["bpr", "k_pair", "sl_at_k"])
def test_a_loss_that_needs_negatives_refuses_a_sampler_that_draws_none(small, tmp_path, loss):
    with pytest.raises(UsageError, match=r"the sampler draws none|only the sampler sl_at_k gives"):
        run(small, tmp_path / "run", sampler="none", loss=loss)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"loss": "sl_at_k"}, "loss sl_at_k with sampler uniform: .*only the sampler sl_at_k gives"),
        (
            {"loss": "softmax:correct=log_q", "sampler": "mixgcf", "model": "lightgcn:dim=4"},
            "needs a sampler that gives",
        ),
        ({"sampler": "sl_at_k:k=20,n_negatives=8"}, "needs at least 20 negatives, and 8 are drawn"),
        ({"sampler": "sl_at_k:k=99"}, "k=99, wanted 1 to 60"),
        ({"loss": "gbce:n_items=5"}, "n_items is given by the data and the run"),
    ],
)
def test_what_a_loss_lacks_is_said_before_anything_is_written(small, tmp_path, parts, said):
    with pytest.raises(UsageError, match=said):
        run(small, tmp_path / "run", **parts)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_the_model_cannot_serve_is_refused_with_those_that_can(small, tmp_path):
    with pytest.raises(
        CapabilityError,
        match=r"loss enmf cannot train mf:similarity=cosine: it needs a score that is linear.* "
        r"Models that serve it with their default settings: mf, lightgcn",
    ):
        run(small, tmp_path / "run", model="mf:similarity=cosine", sampler="none", loss="enmf")
    assert not (tmp_path / "run").exists()


def test_the_numbers_of_llpauc_are_trained_and_saved(small, tmp_path):
    run(small, tmp_path / "run", sampler="uniform:n_negatives=4", loss="llpauc:ascent=true")
    saved = Run.open(tmp_path / "run").load_latest().groups["beside"]
    start = {"a": 1.0, "b": 0.0, "s_plus": 0.5, "s_minus": 0.5, "gamma": 0.0, "lambda_a": 0.5, "lambda_b": 0.5}
    found = {name: float(saved[f"loss.function.{name}"]) for name in start}
    assert all(found[name] != value for name, value in start.items() if name not in ("a", "b"))


def test_the_threshold_is_in_the_checkpoint_and_moves(small, tmp_path):
    run(small, tmp_path / "run", model="mf:dim=4,similarity=cosine", sampler="sl_at_k:n_negatives=24,every=2")
    memory = Run.open(tmp_path / "run").load_latest().groups["memory"]
    bound = next(value for name, value in memory.items() if name.endswith("bound"))
    assert bound.shape == (40,) and (bound != 0).any() and (bound.abs() <= 1).all()


def test_a_scheduled_loss_trains_otherwise_than_a_constant_one(small, tmp_path):
    losses = []
    for number, loss in enumerate(("soft_bpr:beta=linear:0.4:0.1:1", "soft_bpr:beta=0.4")):
        run(small, tmp_path / str(number), loss=loss)
        text = (tmp_path / str(number) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in text])
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]


def test_the_seen_index_of_a_loss_goes_along_to_its_device(small):
    from negsieve.training.build import make_loss

    made = make_loss("full_softmax", small)
    assert "carried.seen.packed" in dict(made.named_buffers()) and not made.state_dict()
    made.to("meta")
    assert made.plain["seen"].packed.device == torch.device("meta")
