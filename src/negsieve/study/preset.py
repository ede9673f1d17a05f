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
        "methods": ("lightgcn/uniform", "lightgcn/dns_mn"),
        "seeds": 3,
        "settings": {"train": {"epochs": 40, "lr": 0.005, "patience": 5}},
    }
