"""The table of a study, from its run directories: means, deviations, paired tests, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from negsieve.data.dataset import Dataset
from negsieve.evaluation import reference, significance
from negsieve.evaluation.evaluator import Evaluator
from negsieve.store.run import Run
from negsieve.study.plan import Method, Outcome, Plan

PART = "test"
_SHRINK = (0.0, 10.0, 100.0)
_EASE_L2 = (200.0, 50.0, 1000.0)
"""What the untrained lines choose from on validation; the first where there is none."""


def make_table(plan: Plan, outcomes: Sequence[Outcome], references: dict[str, dict], *, root: Path) -> dict[str, Any]:
    """``table.json``: a row a method in the plan's order, then the reference lines.

    Every difference is against the baseline on the plan's primary metric, tested per user on the
    test part, Holm-corrected over the methods. A method with a missing run says which and why; it
    is tested on the seeds that it has.
    """
    by_method: dict[Method, list[Outcome]] = {method: [] for method in plan.methods}
    for outcome in outcomes:
        by_method[outcome.method].append(outcome)
    tests = _tests(plan, by_method)
    rows = [_row(method, group, tests.get(method.name), root) for method, group in by_method.items()]
    rows += [_reference_row(name, metrics) for name, metrics in references.items()]
    return {"primary": plan.primary, "part": PART, "baseline": plan.baseline.name, "rows": rows}


def measure_references(dataset: Dataset, evaluator: Evaluator, *, metric: str) -> dict[str, dict]:
    """Metrics of popularity ranking, ItemKNN and EASE on the test part: name -> metric -> value.

    The settings of the last two are those that ``metric`` prefers on validation, where there is one. EASE is
    left out where its matrix is too large.
    """
    lines = {
        "popularity": [lambda: reference.popularity(dataset)],
        "itemknn": [partial(reference.item_knn, dataset, shrink=shrink) for shrink in _SHRINK],
    }
    if dataset.n_items <= reference.EASE_ITEMS:
        lines["ease"] = [partial(reference.ease, dataset, l2=l2) for l2 in _EASE_L2]
    validates = len(dataset.rows("valid")) > 0
    found = {}
    for name, makes in lines.items():
        encoder = _best(makes, evaluator, metric) if validates and len(makes) > 1 else makes[0]()
        found[name] = evaluator.evaluate(encoder, PART).metrics
    return found


def _best(makes: Sequence[Callable], evaluator: Evaluator, metric: str):
    """The encoder that ``metric`` prefers on validation; one is held in memory at a time beside the best."""
    best, score = None, -np.inf
    for make in makes:
        encoder = make()
        value = evaluator.evaluate(encoder, "valid").metrics[metric]
        if value > score:
            best, score = encoder, value
    return best


def _done(group: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in group if one.result is not None]


def _tests(plan: Plan, by_method: dict[Method, list[Outcome]]) -> dict[str, significance.Row]:
    per_user = {
        method.name: [read_per_user(one.path, plan.primary) for one in _done(group)]
        for method, group in by_method.items()
        if _done(group)
    }
    if plan.baseline.name not in per_user or len(per_user) < 2:
        return {}
    rows = significance.against_baseline(per_user, plan.baseline.name, metric=plan.primary)
    return {row.method: row for row in rows if row.against is not None}


def read_per_user(path: Path, metric: str, *, part: str = PART) -> dict[str, np.ndarray]:
    """``{"user": ids, metric: values}`` of one part of a finished run."""
    table = Run(path).per_user()
    chosen = np.asarray(table["part"].to_pylist()) == part
    return {
        name: np.asarray(table[column].to_pylist())[chosen] for name, column in (("user", "user_id"), (metric, metric))
    }


def _row(method: Method, group: Sequence[Outcome], test: significance.Row | None, root: Path) -> dict[str, Any]:
    done = _done(group)
    results = [one.result for one in done]
    metrics = [result["metrics"].get(PART, {}) for result in results]
    names = list(metrics[0]) if metrics else []
    rates = [result["false_negative_rate"] for result in results if result["false_negative_rate"] is not None]
    return {
        "method": method.name,
        "model": method.model,
        "sampler": method.sampler,
        "loss": method.loss,
        "oracle": list(method.oracle),
        "seeds": [one.seed for one in done],
        "missing": [{"seed": one.seed, "why": one.why or "not run"} for one in group if one.result is None],
        "mean": {name: float(np.mean([one[name] for one in metrics])) for name in names},
        "sd": {name: _sd([one[name] for one in metrics]) for name in names},
        "groups": _groups([result.get("groups", {}).get(PART, {}) for result in results]),
        "difference": _difference(test),
        "false_negative_rate": _spread(rates),
        "seconds": _spread([result["seconds"] for result in results]),
        "best_epoch": _spread([float(result["best_epoch"]) for result in results]),
        "reference": False,
        "runs": [str(one.path.relative_to(root)) for one in group],
    }


def _reference_row(name: str, metrics: dict[str, float]) -> dict[str, Any]:
    blank = {key: None for key in ("difference", "false_negative_rate", "seconds", "best_epoch")}
    about = {"method": name, "model": name, "sampler": None, "loss": None, "seeds": [], "missing": [], "runs": []}
    about["oracle"] = []
    return about | blank | {"mean": metrics, "sd": {}, "groups": {}, "reference": True}


def _difference(test: significance.Row | None) -> dict[str, Any] | None:
    if test is None:
        return None
    found = test.against
    return {
        "metric": test.metric,
        "mean": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_adjusted": test.p_holm,
        "users": found.n,
    }


def _groups(found: Sequence[dict[str, dict]]) -> dict[str, dict[str, float]]:
    """Warm, cold and other groups that hold anybody: name -> users and the mean of every metric over seeds."""
    held = {name: one for name, one in (found[0] if found else {}).items() if one["users"]}
    return {
        name: {"users": one["users"]}
        | {metric: float(np.mean([each[name][metric] for each in found])) for metric in one.keys() - {"users", "pairs"}}
        for name, one in held.items()
    }


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _spread(values: Sequence[float]) -> dict[str, float | None] | None:
    return {"mean": float(np.mean(values)), "sd": _sd(values)} if values else None
