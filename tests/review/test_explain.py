"""An explanation counts what a method really asks for, and warns of what is for nothing."""

from __future__ import annotations

import pytest
import torch

from negsieve.config import resolve
from negsieve.errors import UsageError
from negsieve.review import inert
from negsieve.review.calls import explain
from negsieve.samplers.base import Sampler
from negsieve.samplers.named import METHODS
from negsieve.training.step import Outcome
from negsieve.types import Batch, Negatives

SETTINGS = {"train": {"batch_size": 32}}


@pytest.mark.parametrize(
    ("sampler", "model", "without", "with_gradient"),
    [
        ("uniform:n_negatives=3", "mf", 0, 4),
        ("dns:candidates=7", "mf", 7, 2),
        ("dns_mn:m=4,n=9", "lightgcn:layers=2", 9, 5),
        ("softmax_v:n=6", "mf", 7, 7),
        ("pdns:candidates=5", "mf", 5, 2),
        ("mixgcf:candidates=6", "lightgcn:layers=2", 18, 2),
        ("in_batch", "mf", 0, 33),
        ("shared:n_negatives=12", "mf", 0, 13),
    ],
)
def test_costs_are_those_of_the_page(small, sampler, model, without, with_gradient):
    cost = explain(sampler, small, model=model, settings=SETTINGS)["cost"]
    assert (cost["without_gradient"], cost["with_gradient"]) == (without, with_gradient)
    assert cost["batch"] == 32


def test_a_loss_over_the_catalogue_costs_the_catalogue_and_the_draws_are_for_nothing(small):
    found = explain("dns:candidates=4", small, loss="full_softmax", settings=SETTINGS)
    assert found["cost"]["with_gradient"] == small.n_items + 2
    assert any("does not read the sampler's negatives" in one["says"] for one in found["warnings"])
    assert not explain("none", small, settings=SETTINGS)["warnings"]


def test_what_a_model_cannot_serve_is_explained_not_refused(small):
    found = explain("mixgcf", small, model="mf")
    assert "Models that serve it: lightgcn" in found["refused"]
    assert found["cost"] is None and found["epoch"] is None
    assert [(one["need"], one["served"]) for one in found["needs"]] == [("layers", False), ("vectors", True)]
    found = explain("uniform", small, model="mf:similarity=cosine", loss="enmf")
    assert "linear in the item's vector" in found["refused"]


def test_memory_is_told_by_kind(small):
    assert explain("uniform", small)["memory"]["index"] > 0
    assert explain("dens", small, model="mf:dim=8")["memory"]["parameters"] > 0
    assert explain("cbns", small)["memory"]["memory"] > 0


@pytest.mark.parametrize("sampler", sorted(METHODS))
def test_every_method_can_be_explained(small, sampler):
    if sampler == "explicit":
        with pytest.raises(UsageError, match="what users turned down"):
            explain(sampler, small)
        return
    before = torch.get_rng_state()
    found = explain(sampler, small, model="lightgcn:layers=1,dim=8", settings=SETTINGS)
    if sampler == "realhns":
        assert "sasrec_cdr" in found["refused"] and "realhns_general" in found["refused"]
        return
    assert found["refused"] is None and found["composition"]["part"]
    assert found["cost"]["with_gradient"] >= 1
    assert torch.equal(before, torch.get_rng_state())


def test_the_same_question_has_the_same_answer(small):
    assert explain("dns", small) == explain("dns", small)


def test_names_that_do_not_exist_are_refused(small):
    for words, given in {
        "Did you mean 'dns'": {"sampler": "dsn"},
        "no loss": {"loss": "bbpr"},
        "no model": {"model": "m"},
    }.items():
        with pytest.raises(UsageError, match=words):
            explain(**{"sampler": "uniform"} | given, data=small)
    with pytest.raises(UsageError, match="there is no module"):
        explain("no_such_shop:nearby", small)


class Gated(Sampler):
    """One gate that is used and one that is not."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.used, self.idle = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))

    def sample(self, batch, scorer, rng):
        weight = self.used.expand(len(batch), 1)
        return Negatives(torch.zeros(len(batch), 1, dtype=torch.long), weight=weight)


def outcome(sampler: Sampler, loss, negatives: Negatives) -> Outcome:
    positive, negative = torch.zeros(3, requires_grad=True), torch.zeros(3, 1, requires_grad=True) + 0.0
    value = loss(positive, negative, negatives)
    return Outcome(None, negatives, positive, negative, value, torch.zeros(3), None)


def test_idle_parameters_weights_and_masks_are_seen():
    batch, sampler = Batch(torch.arange(3), torch.arange(3)), Gated(9)
    given = sampler.sample(batch, None, None)

    def weighted(positive, negative, negatives):
        return (negatives.weight * (negative - positive[:, None])).sum(1) + negatives.weight[:, 0]

    def blind(positive, negative, negatives):
        return (negative - positive[:, None]).mean(1)

    (says,) = [one.says for one in inert.measured(outcome(sampler, weighted, given), weighted, sampler, batch)]
    assert says == "Parameters of the sampler that get no gradient: idle."
    told = [one.says for one in inert.measured(outcome(sampler, blind, given), blind, sampler, batch)]
    assert "The loss does not read the sampler's weights." in told and "used, idle" in told[-1]
    nothing = Negatives(given.item, keep=torch.zeros(3, 1, dtype=torch.bool))
    told = [one.says for one in inert.measured(outcome(Gated(9), blind, nothing), blind, torch.nn.Module(), batch)]
    assert told == ["No negative is kept: nothing is learned from any row."]


def test_a_schedule_is_explained_as_it_stands_in_an_epoch(small):
    found = explain("pdns:beta=0.1", small, loss="soft_bpr:beta=linear:1:0.1:5", settings=resolve(SETTINGS).plain())
    assert found["loss"] == "soft_bpr:beta=linear:1:0.1:5"
    assert not any("sqrt(beta)" in one["says"] for one in found["equal"])
