"""One training step, from a batch of positives to a loss for each of them.

The only place where a model, a sampler and a loss meet. Whoever keeps their own loop does the
same five lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from negsieve.errors import CapabilityError, NonFiniteLoss
from negsieve.losses import Loss
from negsieve.models.base import Model
from negsieve.samplers.base import Sampler
from negsieve.scorers import Scorer, VectorScorer
from negsieve.training.price import price
from negsieve.types import Batch, Negatives


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step computed: ``positive``, ``loss``, ``penalty`` ``Float[B]``, ``negative Float[B, K]``.

    ``auxiliary Float[B]`` is what the sampler adds to the loss, None for most.
    """

    scorer: Scorer
    negatives: Negatives
    positive: Tensor
    negative: Tensor
    loss: Tensor
    penalty: Tensor
    auxiliary: Tensor | None

    def total(self, *, l2: float) -> Tensor:
        """The scalar to descend: mean loss, mean auxiliary loss, and ``l2`` times the mean penalty."""
        total = self.loss.mean() + l2 * self.penalty.mean()
        return total if self.auxiliary is None else total + self.auxiliary.mean()


def forward(
    model: Model,
    sampler: Sampler,
    loss: Loss,
    batch: Batch,
    rng: torch.Generator,
    *,
    lap: Callable[[str], None] = lambda stage: None,
) -> Outcome:
    """Encodes once, draws, scores the chosen with gradient, and prices every row.

    A sampler with a part that is ``noiseless`` draws by a second encoding, without noise and gradient, where
    the model's forward pass has noise at all.

    ``lap`` is called with the name of each stage as it ends, for whoever keeps the time.
    """
    scorer = model.encode(batch)
    lap("encode")
    negatives = sampler.sample(batch, _chooser(model, sampler, batch, scorer), rng)
    lap("sample")
    positive, negative = score_both(scorer, batch, negatives)  # [B], [B, K]
    outcome = Outcome(
        scorer=scorer,
        negatives=negatives,
        positive=positive,
        negative=negative,
        loss=price(loss, positive, negative, negatives, batch=batch, scorer=scorer),
        penalty=model.penalty(batch, negatives),
        auxiliary=sampler.auxiliary(batch, negatives, scorer),
    )
    lap("score")
    return outcome


def _chooser(model: Model, sampler: Sampler, batch: Batch, scorer: Scorer) -> Scorer:
    """The scorer that the sampler draws by: the step's own, or one without noise."""
    if batch.noise is None or not model.noisy:
        return scorer
    if not any(getattr(part, "noiseless", False) for part in sampler.modules()):
        return scorer
    with torch.no_grad():
        return model.encode(replace(batch, noise=None))


def score_both(scorer: Scorer, batch: Batch, negatives: Negatives) -> tuple[Tensor, Tensor]:
    """The positives' scores ``Float[B]`` and the negatives' ``Float[B, K]``, with gradient.

    In one call where every row has items of its own: then one gradient of the item table is made instead of two.
    """
    own = batch.item[:, None]
    if negatives.vector is not None or len(negatives.item) != len(own):
        return scorer.score(own).squeeze(1), score_negatives(scorer, negatives)
    positive, negative = scorer.score(torch.cat([own, negatives.item], dim=1)).tensor_split([1], dim=1)
    return positive.squeeze(1), negative


def score_negatives(scorer: Scorer, negatives: Negatives) -> Tensor:
    """``Float[B, K]`` with gradient: of the items, or of the vectors that replace them."""
    if negatives.vector is None:
        return scorer.score(negatives.item)
    if not isinstance(scorer, VectorScorer):
        raise CapabilityError(
            f"{type(scorer).__name__} cannot rate synthetic negatives: they need a scorer with vectors, such as Dot"
        )
    return scorer.score_vectors(negatives.vector)


def refuse_non_finite(total: Tensor, outcome: Outcome, model: Model, *, epoch: int, step: int, sampler: str) -> None:
    """Raises NonFiniteLoss naming the first bad tensor along the step, before any update.

    Cost: one read of a scalar a step; the search happens only when it is bad.
    """
    if torch.isfinite(total):
        return
    stages = {f"parameter {name}": value for name, value in model.named_parameters()}
    stages["score of the positive"] = outcome.positive
    if outcome.negatives.vector is not None:
        stages["synthetic negative"] = outcome.negatives.vector
    stages["score of the negatives"] = outcome.negative
    stages["loss"] = outcome.loss
    if outcome.auxiliary is not None:
        stages["auxiliary loss of the sampler"] = outcome.auxiliary
    stages["penalty"] = outcome.penalty
    first = next((name for name, value in stages.items() if not torch.isfinite(value).all()), "sum of the loss")
    raise NonFiniteLoss(
        f"the loss is {float(total.detach())} at epoch {epoch}, step {step}, sampler {sampler}: the first bad tensor "
        f"is the {first}. Nothing was updated. Lower train.lr, or raise train.l2 or a temperature, and start again "
        "from the last checkpoint."
    )
