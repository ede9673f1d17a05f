"""Every published method by its name: which function makes it, what else it is called, which loss is its own.

The functions live in ``methods``, a file a family. docs/methods has a page for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from negsieve.errors import nearest
from negsieve.recbole import from_recbole
from negsieve.samplers.base import Sampler
from negsieve.samplers.methods import (
    adversarial,
    cross_domain,
    dynamic,
    explicit,
    importance,
    memory,
    static,
    synthetic,
    whole,
)
from negsieve.samplers.plugins import plugins
from negsieve.spec import Spec, resolve

__all__ = ["ALIASES", "FAMILIES", "METHODS", "default_loss", "find", "from_recbole"]

FAMILIES = {
    "static": static,
    "dynamic": dynamic,
    "memory": memory,
    "synthetic": synthetic,
    "adversarial": adversarial,
    "importance": importance,
    "explicit": explicit,
    "cross_domain": cross_domain,
    "whole": whole,
}

METHODS: dict[str, Callable[..., Sampler]] = {
    name: make for family in FAMILIES.values() for name, make in family.METHODS.items()
}

ALIASES: dict[str, str] = {name: known for family in FAMILIES.values() for name, known in family.ALIASES.items()}

_LOSSES: dict[str, str | Callable[[Mapping[str, object]], str]] = {
    name: loss for family in FAMILIES.values() for name, loss in family.LOSSES.items()
}


def __getattr__(name: str) -> Callable[..., Sampler]:
    """``named.dns(n_items, seen=train)``: a method's function by its name."""
    if name not in METHODS:
        raise AttributeError(f"there is no sampler {name!r}.{nearest(name, METHODS)}")
    return METHODS[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *METHODS])


def find(name: str, *, allow_import: bool = False) -> Callable[..., Sampler]:
    """The function behind a method's name, an alias, an installed plug-in's name, or ``module:function``.

    ``module:function`` is imported only with ``allow_import``, which is for the command line alone.
    Raises ``UsageError`` with a did-you-mean.
    """
    spec = Spec(name)
    plain = name.replace("-", "_").lower()
    known = spec.outside or plain in METHODS or plain in ALIASES
    offered = {} if known else plugins()
    return resolve(spec, METHODS, aliases=ALIASES, plugins=offered, allow_import=allow_import, what="sampler")


def default_loss(name: str, params: Mapping[str, object]) -> str:
    """The loss, as a string that the user could have typed, that a method's paper trains it with.

    ``params`` are the sampler's given parameters, as text or values. A sampler from outside has "bpr".
    """
    name = name.replace("-", "_").lower()
    loss = _LOSSES.get(ALIASES.get(name, name), "bpr")
    return loss if isinstance(loss, str) else loss(params)
