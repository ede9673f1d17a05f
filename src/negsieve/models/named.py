"""The models that have a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from negsieve import spec
from negsieve.errors import UsageError
from negsieve.histories import Aside, Histories
from negsieve.models.base import Model
from negsieve.models.dasl import DASL
from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF
from negsieve.models.sasrec import SASRec
from negsieve.models.sasrec_cdr import SASRecCDR
from negsieve.seen import Seen

MODELS = {"mf": MF, "lightgcn": LightGCN, "sasrec": SASRec, "sasrec_cdr": SASRecCDR, "dasl": DASL}
ALIASES = {"bpr": "mf", "bprmf": "mf", "bpr_mf": "mf", "light_gcn": "lightgcn", "sas_rec": "sasrec"}
OFFERED = ("n_users", "n_items", "train", "history", "aside", "seed")
"""What the data and the run give to a model, and nobody may set."""


def build_model(
    text: str,
    *,
    n_users: int,
    n_items: int,
    train: Seen,
    seed: int,
    history: Callable[[str], Histories] | None = None,
    aside: Callable[[str], Aside | None] | None = None,
) -> Model:
    """The model that a spec such as ``lightgcn:dim=64,layers=3`` names, freshly initialised.

    history  ``order -> Histories`` of the train part, called by models that read them, which need it
    aside    ``order -> Aside`` of the train part, the same for models that read source domains; None: there are none
    """
    parsed = spec.parse(text)
    told = {"history": history or _untold, "aside": lambda order: _beside(aside, order)}
    offers = {"n_users": n_users, "n_items": n_items, "train": train, **told, "seed": seed}
    return spec.bind(_kind(parsed), parsed, offers)


def _untold(order: str) -> Histories:
    raise UsageError("this model reads what users did in order: give build_model a history, such as Dataset.histories")


def _beside(aside: Callable[[str], Aside | None] | None, order: str) -> Aside:
    found = None if aside is None else aside(order)
    if found is None:
        raise UsageError(
            "this model reads a source domain beside the target: name both with --target and --source, or give "
            "build_model an aside, such as Dataset.asides"
        )
    return found


def check_model(text: str) -> None:
    """Raises UsageError for an unknown model or parameter, without the cost of building it."""
    parsed = spec.parse(text)
    spec.convert(_kind(parsed), parsed, skip=OFFERED)


def setting(text: str, name: str) -> str | None:
    """A parameter of the model that a spec names, as text: what is given, or its default; None: it has none such."""
    parsed = spec.parse(text)
    wanted = inspect.signature(_kind(parsed)).parameters
    return parsed.params.get(name, str(wanted[name].default)) if name in wanted else None


def order_read(text: str) -> str | None:
    """The order in which a model reads users' histories, "time" or "given"; None: it reads none."""
    return setting(text, "order")


def reads_aside(text: str) -> bool:
    """Whether a model reads source domains beside the target."""
    return "aside" in inspect.signature(_kind(spec.parse(text))).parameters


def _kind(parsed: spec.Spec) -> Callable:
    return spec.resolve(parsed, MODELS, aliases=ALIASES, what="model")
