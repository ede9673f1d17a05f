"""What finished runs say: figures over seeds, groups, realised rates, tests per user. A row without runs says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from negsieve.evaluation.significance import against_baseline
from negsieve.store.run import Run
from negsieve.study.table import read_per_user

from .plan import BASELINES, UNS, Experiment, Row
from .published import METRICS, within
from .work import Work

SAMPLED = "sampled99/"
TESTED = {
    SAMPLED + "ndcg@10": "ndcg@10",
    SAMPLED + "hr@10": "hr@10",
    "ndcg@10": "ndcg@10, all items",
    "hr@10": "hr@10, all items",
}
"""What is tested per user, and what it is called: among the drawn items as published, and in full ranking."""

AGAINST = (UNS, BASELINES["DNS*"], BASELINES["DNS"])
"""The samplers that others are tested against, on the same model; DNS only where DNS* is no row."""

APART = 0.003
"""Published figures nearer than this have no order: the paper states its error range so."""


def begun(one: Experiment, work: Work) -> bool:
    """Whether any run of it is finished."""
    return any(Run(work.path(one, row, seed)).finished for row in one.rows for seed in work.numbers)


def collect(one: Experiment, work: Work) -> dict[str, Any]:
    """An experiment's record, ready for JSON: a row each, run or not, and the paired tests."""
    runs = {row.label: [Run(path) for path in (work.path(one, row, seed) for seed in work.numbers)] for row in one.rows}
    done = {label: [run for run in group if run.exists and run.finished] for label, group in runs.items()}
    rows = [_row(row.label, row.published, done[row.label], work.seeds) for row in one.rows]
    for row, planned in zip(rows, one.rows, strict=True):
        row |= {"model": planned.model, "start": planned.start, "sampler": planned.sampler}
        whys = [work.failed.get(work.path(one, planned, seed)) for seed in work.numbers]
        row["failed"] = [why for why in whys if why]
        row["verdict"] = verdict(row, rows)
    tests = [_tested(base, [row.label for row in one.rows if row.model == base.model], done) for base in _bases(one)]
    return {
        "name": one.name,
        "title": one.title,
        "preset": work.preset.said,
        "seeds asked": work.seeds,
        "epochs": work.epochs,
        "rows": rows,
        "tests": [test for some in tests for test in some],
    }


def _bases(one: Experiment) -> list[Row]:
    """The first row of each model and sampler that others are tested against."""
    found: dict[tuple[str, str], Row] = {}
    for row in one.rows:
        if row.sampler in AGAINST:
            found.setdefault((row.model, row.sampler), row)
    star = {model for model, sampler in found if sampler == AGAINST[1]}
    return [row for (model, sampler), row in found.items() if sampler != AGAINST[2] or model not in star]


def verdict(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Of a row beside the others of its table: one word, "-" where nothing is published, and "not run".

    hit      every figure is within the tolerance of the published one
    partial  not so, but ndcg@10 stands to every other row that was run as published
    """
    if not row["mean"]:
        return f"failed: {row['failed'][0]}" if row["failed"] else "not run"
    if row["published"] is None:
        return "-"
    if all(within(row["mean"][name], row["published"][name], name) for name in METRICS):
        return "hit"
    return "partial" if _in_order(row, rows) else "miss"


def _in_order(row: dict[str, Any], rows: list[dict[str, Any]], name: str = "ndcg@10") -> bool:
    """Whether every row that was published clearly above or below stands so here; False where there is none."""
    signs = [
        (row["published"][name] - other["published"][name]) * (row["mean"][name] - other["mean"][name]) > 0
        for other in rows
        if other["mean"] and other["published"] and abs(row["published"][name] - other["published"][name]) > APART
    ]
    return bool(signs) and all(signs)


def _row(label: str, published: tuple[float, ...] | None, done: list[Run], asked: int) -> dict[str, Any]:
    row: dict[str, Any] = {"label": label, "published": None, "mean": {}, "sd": {}, "seeds": len(done), "asked": asked}
    if published is not None:
        row["published"] = dict(zip(METRICS, published, strict=True))
    if not done:
        return row
    results = [run.result() for run in done]
    measured = [result["metrics"]["test"] for result in results]
    row["mean"], row["sd"] = _over([{name: one[SAMPLED + name] for name in METRICS} for one in measured])
    row["full"], _ = _over([{name: one[name] for name in METRICS} for one in measured])
    row["groups"] = {name: _group(name, results) for name in results[0]["groups"]["test"]}
    row["origins"] = _origins(done, results)
    row["best epoch"] = [result["best_epoch"] + 1 for result in results]
    row["epochs"] = [result["epochs"] for result in results]
    row["stopped"] = sorted({result["stopped"] for result in results})
    row["seconds"] = [result["seconds"] for result in results]
    row["stamps"] = sorted({stamp for result in results for stamp in result["stamps"]})
    row["runs"] = [str(Path(*run.path.parts[-3:])) for run in done]
    return row


def _over(several: list[dict[str, float]]) -> tuple[dict[str, float], dict[str, float | None]]:
    """Mean and standard deviation (n - 1; None of one) by name."""
    values = {name: np.asarray([one[name] for one in several]) for name in several[0]}
    mean = {name: float(found.mean()) for name, found in values.items()}
    return mean, {name: float(found.std(ddof=1)) if len(found) > 1 else None for name, found in values.items()}


def _group(name: str, results: list[dict[str, Any]]) -> dict[str, float]:
    found = [result["groups"]["test"][name] for result in results]
    users = found[0]["users"]
    if not users:
        return {"users": 0}
    return {"users": users} | _over([{metric: one[SAMPLED + metric] for metric in METRICS} for one in found])[0]


def _origins(done: list[Run], results: list[dict[str, Any]]) -> dict[str, float] | None:
    """Where the columns of the best epoch came from, mean over seeds; None for samplers that do not say."""
    found = []
    for run, result in zip(done, results, strict=True):
        records = [record for record in run.metrics() if record["epoch"] == result["best_epoch"]]
        found += [record["origins"] for record in records if "origins" in record]
    return _over(found)[0] if found else None


def _tested(base: Row, labels: list[str], done: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """Rows against one, per user on the same items, p corrected over the rows; nothing where it was not run."""
    tests: list[dict[str, Any]] = []
    if not done[base.label]:
        return tests
    for name, metric in TESTED.items():
        per_user = {label: [read_per_user(run.path, name) for run in done[label]] for label in labels if done[label]}
        for row in against_baseline(per_user, base.label, metric=name):
            if row.against is None:
                continue
            found = row.against
            about = {"method": row.method, "against": base.label, "metric": metric, "difference": found.difference}
            tests.append(about | {"low": found.low, "high": found.high, "p": found.p, "p Holm": row.p_holm})
    return tests
