"""A loss as the compiled steps know it: one of a few kinds with its settings as they stand."""

from __future__ import annotations

from negsieve.kernels.losses import PairLoss
from negsieve.losses import Loss, bce, bpr, hinge, k_pair, soft_bpr, softmax
from negsieve.training.price import Settled

_KINDS = {bpr: "bpr", soft_bpr: "soft_bpr", bce: "bce", hinge: "hinge", softmax: "softmax", k_pair: "softmax"}
_READ = ("beta", "margin", "temperature", "include_positive")


def pair_loss(loss: Loss) -> PairLoss | None:
    """The same loss for the compiled steps, schedules at their present values; None where they do not know it.

    ``k_pair`` is ``softmax`` at temperature 1.
    """
    function = loss.function if isinstance(loss, Settled) else loss
    if function not in _KINDS:
        return None
    given = {}
    if isinstance(loss, Settled):
        given = loss.plain | {name: float(one.value) for name, one in loss.schedules.items()}
    if given.get("correct", "none") != "none":
        return None
    return PairLoss(_KINDS[function], **{name: given[name] for name in _READ if name in given})


def why_unpaired(loss: Loss) -> str | None:
    """Why the compiled steps cannot take a loss, None where they can."""
    if pair_loss(loss) is not None:
        return None
    return (
        "the compiled steps know the losses bpr, soft_bpr, bce, hinge, k_pair and softmax without a correction, "
        "and this is another"
    )
