"""From the text of a sampler and a data set to the sampler: what it is offered, and what it may know."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from copy import deepcopy

import torch

from negsieve import losses, spec
from negsieve.data.dataset import Dataset
from negsieve.errors import NegsieveError, UsageError
from negsieve.samplers import named
from negsieve.samplers.base import Sampler
from negsieve.seen import Seen


def make_sampler(
    text: str,
    dataset: Dataset,
    *,
    dim: int = 64,
    seed: int = 0,
    trusted: Collection[str] = (),
    oracle: Collection[str] = (),
    order: str | None = None,
) -> Sampler:
    """The sampler that a spec names, for a model of width ``dim``.

    oracle  held-out parts that it may know beside train: whatever comes of it must be stamped
    order   in which the model reads what users did, "time" or "given"; None: by time where there are times

    ``module:function`` is imported only when ``trusted`` holds its text.
    """
    parsed = spec.parse(text)
    if parsed.outside and text not in trusted:
        raise UsageError(
            f"sampler {text!r} is code outside negsieve, which is imported only for whoever types it: "
            f"repeat it as --sampler {text}, or sampler={text!r} in Python"
        )
    if parsed.name in losses.LOSSES and parsed.name not in {*named.METHODS, *named.ALIASES}:
        instead = f"--sampler none --loss {text}" if parsed.name in losses.WHOLE else f"--loss {text}"
        raise UsageError(f"{parsed.name} is a loss, not a sampler: {instead}")
    function = named.find(parsed.name, allow_import=text in trusted)
    # an index of its own: the sampler takes it along to its device
    offers = {
        "n_items": dataset.n_items,
        "n_users": dataset.n_users,
        "seen": known_to(dataset, oracle),
        "explicit": deepcopy(dataset.explicit),
        "dim": dim,
        "seed": seed,
    }
    # what few ask for costs a sort of the table, or an index
    asked = inspect.signature(function).parameters
    if "last_row" in asked:
        offers["last_row"] = last_rows(dataset, order)
    if "train" in asked:
        offers["train"] = dataset.seen("train")
    try:
        made = spec.bind(function, parsed, offers)
    except NegsieveError:
        raise
    except Exception as problem:
        if parsed.name in named.METHODS:
            raise
        raise UsageError(f"sampler {text!r} failed while it was made: {type(problem).__name__}: {problem}") from problem
    if not isinstance(made, Sampler):
        raise UsageError(f"sampler {text!r} returned {type(made).__name__}, wanted a negsieve.samplers.base.Sampler")
    return made


def last_rows(dataset: Dataset, order: str | None = None) -> torch.Tensor:
    """Each user's last train row, its place in the training table: ``Long[U]``, -1 where there is none.

    order  "time" or "given"; None: by time where there are times. Raises DataError where there are none.
    """
    if order is None:
        when = dataset.interactions.timestamp
        order = "given" if when is None or (when == when[:1]).all() else "time"
    histories = dataset.histories("train", order=order)
    end = histories.offset[1:]
    place = histories.row[(end - 1).clamp_min(0)] if len(histories) else torch.full_like(end, -1)
    return torch.where(histories.offset.diff() > 0, place, -1)


def known_to(dataset: Dataset, oracle: Collection[str] = ()) -> Seen:
    """The pairs that a sampler may know: train, and with an oracle the held-out parts it names."""
    parts = ["train", *(part for part in ("valid", "test") if part in oracle)]
    return dataset.seen(*parts, oracle=len(parts) > 1)
