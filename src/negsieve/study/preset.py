"""The study that ``negsieve compare`` runs when nothing is asked: a first look, in minutes on a laptop."""

from __future__ import annotations

from typing import Any


def first_look() -> dict[str, Any]:
    """Keyword arguments of ``negsieve.compare``: which methods, how many seeds, and the settings they share.

    The settings suit the shipped data set alone; on other data the ordinary defaults hold.
    """
    return {
        "models": ("mf",),
        "samplers": ("uniform", "popularity", "dns", "dns_mn", "pdns"),
        "methods": ("lightgcn:layers=2/uniform", "lightgcn:layers=2/dns_mn"),
        "own": ("lightgcn:train.batch_size=8192,train.lr=0.02,train.l2=0.003", "pdns:train.lr=0.03,train.l2=0.003"),
        "seeds": 3,
        "settings": {"train": {"epochs": 8, "batch_size": 4096, "lr": 0.01, "l2": 0.03}},
    }
