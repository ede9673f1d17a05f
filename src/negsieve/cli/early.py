"""Names and parameters are checked before any data are read: a slip of the pen must not cost a long wait."""

from __future__ import annotations

from negsieve import spec
from negsieve.config import RunConfig
from negsieve.models import named as models
from negsieve.samplers import named as samplers
from negsieve.training.build import name_loss, pick_device

# by the data and the run
_TO_A_SAMPLER = {"n_users", "n_items", "seen", "seed", "dim", "explicit", "train", "last_row"}


def check(config: RunConfig, *, typed: str | None) -> None:
    """Raises UsageError for an unknown or misused model, sampler, loss or device.

    typed  the sampler as the command line has it; only such a one may be ``module:function``
    """
    check_method(config.model, config.sampler, config.loss, trusted=config.sampler == typed)
    pick_device(config.train.device)


def check_method(model: str, sampler: str, loss: str, *, trusted: bool) -> None:
    """The same for the parts of one method."""
    models.check_model(model)
    parsed = spec.parse(sampler)
    spec.convert(samplers.find(parsed.name, allow_import=trusted), parsed, skip=_TO_A_SAMPLER)
    name_loss(loss, sampler)
