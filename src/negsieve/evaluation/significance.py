"""Is the difference real? Paired tests per user against a baseline, corrected for their number.

Two methods are compared on the same users, each user's value averaged over the seeds first: seeds are
repeats of one measurement, not further users. With several methods against one baseline the p-values
are corrected by Holm's step-down rule, which controls the chance of any false claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from negsieve.errors import UsageError, nearest

TEST = "two-sided paired t-test over users, values averaged over seeds first"
CORRECTION = "Holm"


@dataclass(frozen=True, slots=True)
class Paired:
    """One paired comparison, a minus b.

    difference  mean over users; ``low``..``high`` is its 95 % interval, None where n < 2
    p           two-sided; 1 where the differences do not vary
    n           users
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class Row:
    """One method's line of a comparison.

    mean, std   over seeds, of the mean over users; std with n - 1, None for one seed
    seeds       how many
    against     the paired test against the baseline, None for the baseline itself
    p_holm      its p-value corrected for all methods of the table, None for the baseline itself
    """

    method: str
    metric: str
    mean: float
    std: float | None
    seeds: int
    against: Paired | None
    p_holm: float | None


def paired(a, b) -> Paired:
    """Paired t-test of per-user values ``a`` and ``b`` (``float[n]``, the same users in the same order).

    Where all differences are equal there is no spread to judge by, and p is 1. Raises UsageError
    where the lengths differ, nothing is given, or a value is not finite.
    """
    from scipy import stats

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise UsageError(f"a paired test wants two equally long rows of values a user, got shapes {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("a paired test wants finite values a user: NaN or infinity found")
    gap, n = a - b, len(a)
    mean = float(gap.mean())
    if n < 2:
        return Paired(mean, None, None, 1.0, n)
    # differences that vary by rounding only are equal: their t would be noise over noise
    if np.ptp(gap) <= 1e-12 * max(1.0, float(np.abs(a).max()), float(np.abs(b).max())):
        return Paired(mean, mean, mean, 1.0, n)
    error = float(gap.std(ddof=1)) / np.sqrt(n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return Paired(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, n - 1)), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 1979), in the order given.

    The i-th smallest of m is multiplied by m - i + 1; a larger p never ends below a smaller one; at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise UsageError(f"p-values lie in 0..1, got {p_values}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted.tolist()


def against_baseline(
    per_user: Mapping[str, Sequence[Mapping[str, np.ndarray]]], baseline: str, *, metric: str
) -> list[Row]:
    """Compares every method with ``baseline`` on ``metric``: one Row a method, in the order given.

    per_user  method -> one ``Evaluation.per_user`` a seed: "user" and an array a metric

    Methods may have different numbers of seeds, but all must have measured the same users. Raises
    UsageError for an unknown baseline or metric, a method without seeds, or users that differ.
    """
    if baseline not in per_user:
        raise UsageError(f"the baseline {baseline!r} is not among {', '.join(per_user)}.{nearest(baseline, per_user)}")
    users = None
    values: dict[str, np.ndarray] = {}
    for method, seeds in per_user.items():
        if not seeds:
            raise UsageError(f"method {method!r} has no finished seed to compare")
        table = []
        for place, one in enumerate(seeds):
            user, value = _aligned(one, metric, f"method {method!r}, seed number {place}")
            users = user if users is None else users
            if not np.array_equal(user, users):
                raise UsageError(
                    f"method {method!r}, seed number {place} measured {len(user)} users that are not the {len(users)} "
                    "of the first one: a paired test needs one split; compare runs with the same data hash"
                )
            table.append(value)
        values[method] = np.stack(table)  # [seeds, n]
    own = values[baseline].mean(0)
    tests = {method: paired(table.mean(0), own) for method, table in values.items() if method != baseline}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    return [
        Row(
            method=method,
            metric=metric,
            mean=float(table.mean()),
            std=float(table.mean(1).std(ddof=1)) if len(table) > 1 else None,
            seeds=len(table),
            against=tests.get(method),
            p_holm=corrected.get(method),
        )
        for method, table in values.items()
    ]


def _aligned(one: Mapping[str, np.ndarray], metric: str, who: str) -> tuple[np.ndarray, np.ndarray]:
    """Users ascending and their values; UsageError where the metric is missing or a user stands twice."""
    if metric not in one:
        known = [name for name in one if name != "user"]
        raise UsageError(
            f"{who} has no values a user of {metric!r}.{nearest(metric, known)} It has: {', '.join(known)}"
        )
    user, value = np.asarray(one["user"]), np.asarray(one[metric], dtype=np.float64)
    if len(np.unique(user)) != len(user) or len(user) != len(value):
        raise UsageError(f"{who} holds {len(user)} users and {len(value)} values: wanted each user once with a value")
    order = np.argsort(user, kind="stable")
    return user[order], value[order]
