"""How a run is made: data, model, optimiser and evaluation as published, in three presets.

``clean`` chooses the epoch on valid and lets nothing held out reach training. ``reference`` is the authors' code where
that is a choice: the epoch chosen on test, held-out items kept out of the candidates, pads attended to, their last user
lost; every figure of it is stamped. ``paper`` is the paper's text: 64 users a step, inner products, no pre-training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negsieve.config import DataConfig, resolve
from negsieve.data.dataset import Dataset
from negsieve.loading import load_data

from .published import METRICS

NAME = "amazon-toy-game"
SOURCE = {"toy": "game", "game": "toy"}
ROWS = {("game", 128): 952, ("toy", 128): 1519, ("game", 64): 476, ("toy", 64): 760}
"""Rows a step by target and users a step: what so many users have on average."""

CHOSEN_BY = "ndcg@10"
FIRST_MEASURED = 19  # epochs count from 0 here: after 20 of them, when eight columns are hard
LONGEST = 1000
ONE_DOMAIN = "sasrec:max_len=200,windows=last,similarity=cosine,temperature=0.2"


@dataclass(frozen=True)
class Preset:
    """What tells one way of reading the publication from another.

    users     a step
    start     of the encoders of models of two domains: "pretrained", the same for every method, or "scratch"
    pads      whether empty places of the authors' grid take part in attention
    dot       inner products instead of 5 times the cosine
    select_on, patience  the part that chooses the epoch, and measurements without a gain before the end
    shorter   without the last user of the log
    sampler   settings of the RealHNS samplers; ``oracle`` what of the held-out rows they then know
    """

    name: str
    users: int = 128
    start: str = "pretrained"
    pads: bool = False
    dot: bool = False
    select_on: str = "valid"
    patience: int = 10
    shorter: bool = False
    sampler: str = ""
    oracle: str = ""

    @property
    def said(self) -> str:
        """What a reader of its figures must know."""
        leak = "; candidates of RealHNS know held-out items" if self.oracle else ""
        return f"preset {self.name}: epoch chosen on {self.select_on}{leak}; {self.users} users a step"


PRESETS = {
    one.name: one
    for one in (
        Preset("clean"),
        # their loop ends at the eleventh measurement in a row that is worse
        Preset(
            "reference",
            pads=True,
            select_on="test",
            patience=11,
            shorter=True,
            sampler="preset=reference",
            oracle="valid+test",
        ),
        Preset("paper", users=64, start="scratch", dot=True, sampler="preset=paper"),
    )
}


def model_of(name: str, preset: Preset) -> str:
    """The spec of a model by its short name. The models of one domain are not in the authors' code."""
    pads = ",pad_attention=reference" if preset.pads else ""
    if name == "mf":
        return "mf:dim=64,init=xavier_uniform"
    if name == "sasrec":
        one = "sasrec:max_len=200,windows=last" if preset.dot else ONE_DOMAIN
        return one + pads
    return f"{name}:max_len=200{',similarity=dot' if preset.dot else ''}{pads}"


def settings(target: str, name: str, preset: Preset, *, epochs: int | None, begin: dict[str, Path]) -> dict[str, Any]:
    """The settings that all methods on one model share.

    begin  finished runs to start from, by part; empty from scratch

    Matrix factorisation learns at a constant .001: its rate is not published, and .0005 that halves within 70 epochs
    suits encoders that were trained before.
    """
    train = {
        "epochs": epochs or LONGEST,
        "batch_size": ROWS[target, preset.users],
        "lr": 1e-3 if name == "mf" else "step:0.0005:0.99:1",
        "betas": [0.9, 0.98],
        "l2": 0.0,
        "validate_from": FIRST_MEASURED,
        "patience": preset.patience,
        "select_on": preset.select_on,
        "init_from": {part: str(run) for part, run in begin.items()},
    }
    return {"data": _data(target, preset, beside=True), "train": train | _choosing(), "evaluate": _measuring()}


def pretraining(domain: str, preset: Preset, *, epochs: int | None) -> dict[str, Any]:
    """The settings of a single-domain encoder, whose recipe is unpublished: ours is UNS, Adam .001, chosen on valid."""
    train = {"epochs": epochs or LONGEST, "batch_size": ROWS[domain, 128], "lr": 1e-3, "l2": 0.0, "patience": 10}
    parts = {"model": model_of("sasrec", preset), "sampler": "uniform:n_negatives=20", "loss": "bce"}
    data = _data(domain, preset, beside=False)
    return parts | {"data": data, "train": train | _choosing() | {"seed": 1}, "evaluate": _measuring()}


def _choosing() -> dict[str, Any]:
    return {"metric": CHOSEN_BY, "select_by": "sampled"}


def _measuring() -> dict[str, Any]:
    return {"metrics": list(METRICS), "test_metrics": [], "ties": "half", "protocol": "both"}


def _data(target: str, preset: Preset, *, beside: bool) -> dict[str, Any]:
    split = {"method": "loo", "drop_last_user": preset.shorter}
    own = {"target": target, "duplicates": "keep", "split": split}
    return own | ({"source_domains": [SOURCE[target]]} if beside else {})


def load(folder: Path, data: dict[str, Any]) -> Dataset:
    """The log below ``folder``, one domain the target. Raises MissingInput where it is not there."""
    config: DataConfig = resolve({"data": data}).data
    return load_data(str(folder / NAME), config=config, name=f"{NAME}-{config.target}")
