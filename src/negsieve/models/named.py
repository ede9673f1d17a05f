"""The models that have a name."""

from __future__ import annotations

from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF

MODELS = {"mf": MF, "lightgcn": LightGCN}
ALIASES = {"bpr": "mf", "bprmf": "mf", "bpr_mf": "mf", "light_gcn": "lightgcn"}
