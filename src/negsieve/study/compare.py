"""A comparison from plan to page: snapshot, runs, reference lines, table, report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from negsieve.config import RunConfig, resolve
from negsieve.data import snapshot
from negsieve.data.dataset import Dataset
from negsieve.data.summary import summary
from negsieve.errors import CannotCreate, ConfigError, DataError
from negsieve.evaluation.significance import CORRECTION, TEST
from negsieve.report import study_page
from negsieve.store import atomic
from negsieve.store.lock import locked
from negsieve.store.strict import read_json
from negsieve.study.plan import Plan
from negsieve.study.table import PART, make_table, measure_references
from negsieve.study.work import StudyWatcher, work
from negsieve.training.build import make_evaluator, refuse_misnamed, refuse_unfit


def run_study(
    plan: Plan,
    dataset: Dataset,
    *,
    root: Path,
    jobs: int = 1,
    trusted: Collection[str] = (),
    watch: StudyWatcher | None = None,
) -> dict[str, Any]:
    """Does a plan in the folder ``root`` and returns its table, with where the page is.

    The same call again goes on with what is missing. Raises before any training when the plan
    cannot work on the data; CannotCreate when ``root`` holds another study or something else;
    Interrupted on Ctrl-C with everything saved.
    """
    refuse_unfit(plan.config, dataset)
    if not len(dataset.rows(PART)):
        raise DataError(f"{dataset.name!r} has no row in its {PART} part, which is what methods are compared on")
    for method in plan.methods:
        refuse_misnamed(plan.config_of(method, plan.seeds[0]), dataset, trusted=trusted)
    _claim(root, plan, dataset)
    with locked(root / "lock"):
        _describe(root, plan, dataset)
        if not (root / "data").exists():
            with atomic.whole_folder(root / "data") as folder:
                snapshot.write(dataset, folder)
        outcomes = work(plan, root, dataset, jobs=jobs, trusted=trusted, watch=watch)
        lines = _references(root, plan, dataset)
        table = make_table(plan, outcomes, lines, root=root)
        atomic.write_text(root / "table.json", atomic.json_text(table, indent=2, undefined=True) + "\n")
        page = study_page(root)
    return table | {"study": str(root), "report": str(page)}


def _identity(plan: Plan, dataset: Dataset) -> dict[str, Any]:
    """What must agree for a folder to be this study; methods and seeds may grow."""
    return {"config": _shared(plan.config), "data_hash": dataset.hash} | ({"own": list(plan.own)} if plan.own else {})


def _shared(config: RunConfig) -> dict[str, Any]:
    """The settings that all runs of a study have in common."""
    plain = config.plain()
    for key in ("name", "model", "sampler", "loss"):
        plain.pop(key)
    plain["train"].pop("seed")
    return plain


def _as_today(identity: dict[str, Any]) -> dict[str, Any]:
    """An identity that an earlier version wrote: settings that did not exist then have their defaults."""
    try:
        return identity | {"config": _shared(resolve(identity["config"]))}
    except ConfigError:  # a setting that is no more: certainly another study
        return identity


def _claim(root: Path, plan: Plan, dataset: Dataset) -> None:
    file = root / "study.json"
    if file.exists():
        if _as_today(read_json(file)["identity"]) != _identity(plan, dataset):
            raise CannotCreate(f"{root}: holds a study of other data or settings; name another folder with --out")
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CannotCreate(f"{root}: is a file, wanted a folder or nothing; name another folder with --out") from None
    # a start that was killed may have left its lock and an unfinished hidden file
    if any(one.name != "lock" and not one.name.startswith(".") for one in root.iterdir()):
        raise CannotCreate(f"{root}: holds something that is not a study; name another folder with --out")


def _describe(root: Path, plan: Plan, dataset: Dataset) -> None:
    """Writes ``study.json``: the protocol, without which the report refuses to make a table."""
    file = root / "study.json"
    created = read_json(file)["created"] if file.exists() else datetime.now(UTC).isoformat(timespec="seconds")
    train = plan.config.train
    description = {
        "name": plan.name,
        "created": created,
        "data": summary(dataset),
        "seeds": list(plan.seeds),
        "baseline": plan.baseline.name,
        "primary": plan.primary,
        "methods": [asdict(method) for method in plan.methods],
        "metrics": make_evaluator(plan.config, dataset, final=True).names,
        "selection": {"metric": plan.config.chooser, "part": train.select_on},
        "test": TEST,
        "correction": CORRECTION,
        "budget": {
            "epochs": train.epochs,
            "patience": train.patience,
            "batch_size": train.batch_size,
            "lr": train.lr,
            "l2": train.l2,
            "optimiser": train.optimiser,
            "settings of their own": "; ".join(plan.own) or "none: every method has the same settings",
        },
        "identity": _identity(plan, dataset),
    }
    atomic.write_text(file, atomic.json_text(description, indent=2) + "\n")


def _references(root: Path, plan: Plan, dataset: Dataset) -> dict[str, dict]:
    file = root / "references.json"
    if file.exists():
        return read_json(file)
    lines = measure_references(dataset, make_evaluator(plan.config, dataset, final=True), metric=plan.primary)
    atomic.write_text(file, atomic.json_text(lines, indent=2) + "\n")
    return lines
