"""One step: what meets what, synthetic negatives, and the first bad tensor named before any update."""

from __future__ import annotations

import pytest
import torch

from negsieve.errors import CapabilityError, NonFiniteLoss
from negsieve.histories import Histories
from negsieve.losses import bpr
from negsieve.models.mf import MF
from negsieve.models.sasrec import SASRec
from negsieve.rng import streams
from negsieve.samplers.base import Chain, Sampler
from negsieve.scorers import Function
from negsieve.training.step import forward, refuse_non_finite, score_negatives
from negsieve.types import Batch, Negatives

BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]))


class Given(Sampler):
    def __init__(self, negatives: Negatives) -> None:
        super().__init__()
        self.negatives = negatives

    def sample(self, batch, scorer, rng):
        return self.negatives


def model() -> MF:
    return MF(4, 9, dim=5, seed=3)


def step(mf: MF, negatives: Negatives, **more):
    return forward(mf, Given(negatives), bpr, BATCH, streams("t"), **more)


def test_scores_loss_and_penalty_are_those_of_the_rows():
    mf, item = model(), torch.tensor([[1, 2], [6, 7], [8, 0]])
    outcome = step(mf, Negatives(item))
    user, table = mf.user[BATCH.user], mf.item
    positive = (user * table[BATCH.item]).sum(1)
    negative = torch.stack([(user * table[item[:, k]]).sum(1) for k in (0, 1)], dim=1)
    torch.testing.assert_close(outcome.positive, positive)
    torch.testing.assert_close(outcome.negative, negative)
    torch.testing.assert_close(outcome.loss, torch.nn.functional.softplus(negative - positive[:, None]).mean(1))
    half = (user.square().sum(1) + table[BATCH.item].square().sum(1) + table[item].square().sum(-1).mean(1)) / 2
    torch.testing.assert_close(outcome.penalty, half)


def test_gradients_reach_only_the_rows_used():
    mf = model()
    step(mf, Negatives(torch.tensor([[1], [1], [8]]))).loss.sum().backward()
    assert mf.item.grad.abs().sum(1).nonzero().flatten().tolist() == [1, 3, 4, 5, 8]
    assert mf.user.grad.abs().sum(1).nonzero().flatten().tolist() == [0, 1, 2]


def test_shared_negatives_rate_like_the_same_ones_repeated():
    mf, item = model(), torch.tensor([[1, 2, 8]])
    torch.testing.assert_close(step(mf, Negatives(item)).loss, step(mf, Negatives(item.expand(3, -1))).loss)


def test_synthetic_negatives_replace_the_items_and_carry_gradient():
    mf = model()
    item = torch.tensor([[1], [2], [8]])
    vector = mf.item[item].detach().mul(2).requires_grad_()
    outcome = step(mf, Negatives(item, vector=vector))
    torch.testing.assert_close(outcome.negative, 2 * step(mf, Negatives(item)).negative)
    outcome.loss.sum().backward()
    assert vector.grad.abs().sum() > 0


def test_a_scorer_without_vectors_cannot_rate_synthetic_negatives():
    negatives = Negatives(torch.zeros(3, 1, dtype=torch.long), vector=torch.zeros(3, 1, 5))
    with pytest.raises(CapabilityError, match="Function cannot rate synthetic negatives"):
        score_negatives(Function(lambda item: item.float()), negatives)


def test_stages_are_told_as_they_end():
    stages = []
    step(model(), Negatives(torch.zeros(3, 1, dtype=torch.long)), lap=stages.append)
    assert stages == ["encode", "sample", "score"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("user", "parameter user"),
        ("vector", "synthetic negative"),
        ("loss", "loss"),
        ("penalty", "penalty"),
        ("nothing", "sum of the loss"),
    ],
)
def test_the_first_bad_tensor_along_the_step_is_named(place, named, bad):
    mf = model()
    vector = torch.ones(3, 1, 5)
    if place == "user":
        with torch.no_grad():
            mf.user[1, 2] = bad
    if place == "vector":
        vector[0, 0, 0] = bad * float(mf.user.detach()[0, 0].sign())

    def loss(positive, negative, negatives):
        return bpr(positive, negative, negatives) * (bad if place == "loss" else 1.0)

    outcome = forward(
        mf, Given(Negatives(torch.zeros(3, 1, dtype=torch.long), vector=vector)), loss, BATCH, streams("t")
    )
    if place == "penalty":
        outcome.penalty.data[0] = bad
    total = outcome.loss.mean() + outcome.penalty.mean()
    if place == "nothing":
        refuse_non_finite(total, outcome, mf, epoch=0, step=0, sampler="given")
        total = total * bad
    with pytest.raises(NonFiniteLoss) as stopped:
        refuse_non_finite(total, outcome, mf, epoch=4, step=17, sampler="given")
    assert f"at epoch 4, step 17, sampler given: the first bad tensor is the {named}." in str(stopped.value)


def test_a_step_in_which_the_score_overflows_names_the_score():
    mf = model()
    with torch.no_grad():
        mf.user[0] = 1e38
        mf.item[3] = 1e38
    outcome = step(mf, Negatives(torch.zeros(3, 1, dtype=torch.long)))
    with pytest.raises(NonFiniteLoss, match="is the score of the positive"):
        refuse_non_finite(outcome.penalty.sum(), outcome, mf, epoch=0, step=0, sampler="given")


class Rated(Sampler):
    """Takes the item that the scorer it was shown rates highest."""

    def sample(self, batch, scorer, rng):
        self.shown = scorer
        return Negatives(scorer.score(torch.arange(9)[None]).argmax(1, keepdim=True))


class RatedWithoutNoise(Rated):
    noiseless = True


def test_a_part_that_wants_no_noise_chooses_without_dropout_and_is_priced_with_it():
    user, item = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([3, 4, 5, 6, 7])
    history = Histories(user, item, n_users=4)
    model = SASRec(4, 9, history=lambda order: history, dim=4, dropout=0.5, seed=1)
    row = torch.tensor([1, 2, 4])
    batch = Batch(user[row], item[row], row, noise=5)
    outcomes = {kind: forward(model, Chain(kind()), bpr, batch, streams("t")) for kind in (Rated, RatedWithoutNoise)}
    noisy, quiet = outcomes[Rated], outcomes[RatedWithoutNoise]
    calm = model.frozen()(batch).score(torch.arange(9)[None])
    assert torch.equal(quiet.negatives.item, calm.argmax(1, keepdim=True))
    assert torch.equal(noisy.scorer.query, quiet.scorer.query)
    assert not torch.allclose(noisy.scorer.query, model.frozen()(batch).query)
    assert quiet.negative.requires_grad
    torch.testing.assert_close(quiet.negative, quiet.scorer.score(quiet.negatives.item))


def test_a_model_without_noise_is_encoded_once():
    mf, sampler = model(), RatedWithoutNoise()
    batch = Batch(BATCH.user, BATCH.item, torch.arange(3), noise=5)
    assert forward(mf, sampler, bpr, batch, streams("t")).scorer is sampler.shown
