"""The models that have a name."""

from __future__ import annotations

from negsieve import spec
from negsieve.models.base import Model
from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF
from negsieve.seen import Seen

MODELS = {"mf": MF, "lightgcn": LightGCN}
ALIASES = {"bpr": "mf", "bprmf": "mf", "bpr_mf": "mf", "light_gcn": "lightgcn"}


def build_model(text: str, *, n_users: int, n_items: int, train: Seen, seed: int) -> Model:
    """The model that a spec such as ``lightgcn:dim=64,layers=3`` names, freshly initialised."""
    parsed = spec.parse(text)
    kind = spec.resolve(parsed, MODELS, aliases=ALIASES, what="model")
    offers = {"n_users": n_users, "n_items": n_items, "train": train, "seed": seed}
    return spec.bind(kind, parsed, offers)
