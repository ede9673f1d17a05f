"""What an evaluation found: the headline, the groups beside it, and a value a user."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    metrics   name -> mean over users; a metric of lists is one number of all lists
    groups    "warm", "cold_users", "cold_items" -> {"users", "pairs", and every metric where users > 0};
              "no_source", where the data have source domains: users without a source row before what is judged
    per_user  "user" ``int64[n]`` and, for every metric that has a value a user, ``float64[n]``
    users     users with something held out; ``pairs`` is how much
    unreachable  held-out pairs that the mask hides (a repeat of train): they count as misses
    biased    True for sampled evaluation alone: not comparable with anything ranked in full
    """

    metrics: dict[str, float]
    groups: dict[str, dict]
    per_user: dict[str, np.ndarray]
    part: str
    protocol: str
    users: int
    pairs: int
    unreachable: int
    chunk: int
    biased: bool = False
    facts: dict = field(default_factory=dict)

    def summary(self) -> dict:
        """Everything but the per-user arrays, ready for JSON."""
        names = ("part", "protocol", "biased", "users", "pairs", "unreachable", "chunk", "metrics", "groups", "facts")
        return {name: getattr(self, name) for name in names}


def beside(full: Evaluation, drawn: Evaluation) -> Evaluation:
    """Both protocols of one part as one result; the labels of the sampled one keep its figures apart."""
    return replace(
        full,
        metrics=full.metrics | drawn.metrics,
        groups={name: group | drawn.groups[name] for name, group in full.groups.items()},
        per_user=full.per_user | drawn.per_user,
        protocol="both",
        facts=full.facts | drawn.facts,
    )
