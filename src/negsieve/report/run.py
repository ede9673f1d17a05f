"""The page of one run: what was trained, how it went, what came out, on what."""

from __future__ import annotations

from pathlib import Path

from negsieve import __version__
from negsieve.errors import DataError, MissingInput
from negsieve.report import words
from negsieve.report.figures import Curve, curves
from negsieve.report.page import write_page
from negsieve.store.run import Run

_PANELS = (
    ("false_negative_rate", "False-negative rate, %", 100.0),
    ("hardness", "Hardness of negatives, percentile", 1.0),
    ("dead_rows", "Dead rows, %", 100.0),
    ("coverage", "Items drawn as negatives, %", 100.0),
)


def run_page(run_dir: str | Path) -> Path:
    """Writes ``report.html`` into a run directory, finished or not, and returns its path.

    Reads files only. Raises MissingInput where there is no run, DataError where one of its files
    is not what it should be.
    """
    run = Run.open(run_dir)
    result, metrics = run.result(), run.metrics()
    try:
        values = _values(run, result, metrics)
    except (KeyError, TypeError, AttributeError) as problem:
        raise DataError(f"found a record that lacks or mistypes {problem}", file=run.path) from problem
    return write_page(run.path / "report.html", "run.html", values)


def _values(run: Run, result: dict | None, metrics: list[dict]) -> dict:
    config = run.config()
    primary = (result or {}).get("selection", {}).get("metric") or _first_metric(metrics)
    best = (result or {}).get("best_epoch")
    known = {"seed": (config.get("train") or {}).get("seed"), **config, **(result or {})}
    who = {name: known.get(name) for name in ("model", "sampler", "loss", "seed")}
    return {
        "title": (result or {}).get("name") or run.path.resolve().name,
        "who": {
            name: words.rows(value, name, exact=True)[0][1] if value is not None else None
            for name, value in who.items()
        },
        "result": result,
        "summary": _summary(result, metrics, primary),
        "oracle": [str(one) for one in known.get("oracle") or []],
        "stamps": [str(one) for one in (result or {}).get("stamps") or []],
        "tiles": _tiles(result, primary),
        "panels": _panels(metrics, primary, best),
        "table": _table(result),
        "stages": _stages(metrics),
        "diagnostics": _diagnostics(result),
        "data": words.rows(_or_none(run.data) or {}),
        "data_hash": (result or {}).get("data_hash") or (_or_none(run.data) or {}).get("hash"),
        "config": words.rows(config, exact=True),
        "env": words.rows(_or_none(run.env) or {}, exact=True),
        "folder": run.path.resolve().name,
        "version": __version__,
    }


def _or_none(read):
    try:
        return read()
    except MissingInput:
        return None


def _first_metric(metrics: list[dict]) -> str | None:
    return next((name for record in metrics for name in (record.get("valid") or {})), None)


def _summary(result: dict | None, metrics: list[dict], primary: str | None) -> str:
    if result is None:
        last = f"; the last had a loss of {words.number(metrics[-1].get('loss'))}" if metrics else ""
        return (
            f"This run is not finished: {words.plural(len(metrics), 'epoch')} so far{last}. "
            "There is no final result to show yet."
        )
    chosen = result.get("selection") or {}
    why = f" ({result['stopped']})" if result.get("stopped") else ""
    sentences = [f"Trained for {words.plural(result['epochs'], 'epoch')}{why}."]
    if words.started(result):
        sentences.append(f"It started from the weights of finished runs ({words.started(result)}).")
    best = f"Epoch {result['best_epoch']}, counted from 0,"
    if chosen.get("part"):
        part = _part(chosen["part"])
        sentences.append(f"{best} was the best by {chosen['metric']} on the {part} part; the figures below are of it.")
    else:
        sentences.append(f"{best} was kept; no part was there to choose the best one by.")
    tested = result["metrics"].get("test", {})
    if primary in tested:
        sentences.append(f"On the test part it reaches {primary} {words.number(tested[primary])}.")
    if chosen.get("part") == "test":
        sentences.append("Beware: the epoch was chosen on the test part, so the test figures are too good.")
    if result.get("biased"):
        sentences.append("Beware: users were ranked against a few drawn items only, so the figures are biased upwards.")
    if not words.missing(result.get("false_negative_rate")):
        sentences.append(
            f"In that epoch {words.share(result['false_negative_rate'])} of the chosen negatives were false: "
            "the user took them in the held-out part."
        )
    return " ".join(sentences)


def _part(name: str) -> str:
    return {"valid": "validation"}.get(name, name)


def _tiles(result: dict | None, primary: str | None) -> list[tuple[str, str]]:
    if result is None:
        return []
    tiles = []
    for part in ("test", "valid"):
        if primary in result["metrics"].get(part, {}):
            tiles.append((f"{_part(part)} {primary}", words.number(result["metrics"][part][primary])))
    tiles.append(("false negatives", words.share(result.get("false_negative_rate"))))
    tiles.append((f"best epoch, from 0, of {result['epochs']}", str(result["best_epoch"])))
    tiles.append(("time", words.duration(result.get("seconds"))))
    return tiles


def _panels(metrics: list[dict], primary: str | None, best: int | None) -> list[tuple]:
    """(figure, words below it) for each quantity that was logged."""
    found = [_panel("loss", "Training loss", [(one["epoch"], one.get("loss")) for one in metrics], best, "loss")]
    if primary is not None:
        points = [(one["epoch"], one["valid"].get(primary)) for one in metrics if one.get("valid")]
        note = "on the validation part, on the epochs that were validated"
        found.append(_panel("valid", f"Validation {primary}", points, best, note))
    for name, title, scale in _PANELS:
        points = [(one["epoch"], None if words.missing(one.get(name)) else scale * one[name]) for one in metrics]
        found.append(_panel(name.replace("_", "-"), title, points, best, name))
    return [panel for panel in [*found, _origins(metrics, best)] if panel is not None]


def _origins(metrics: list[dict], best: int | None):
    """What the columns of negatives were, one line a kind, where the sampler labels them."""
    names = list(dict.fromkeys(name for one in metrics for name in one.get("origins") or {}))
    if not names:
        return None

    def share(record: dict, name: str) -> float | None:
        value = (record.get("origins") or {}).get(name)
        return None if words.missing(value) else 100.0 * value

    lines = [
        Curve(name, [(one["epoch"], share(one, name)) for one in metrics], series=place)
        for place, name in enumerate(names)
    ]
    title = "Origin of negatives, %"
    last = ", ".join(f"{name} {words.share(value)}" for name, value in (metrics[-1].get("origins") or {}).items())
    picture = curves(lines, name="fig-origins", title=title, alt=f"{title} over epochs; in the last: {last}", best=best)
    return picture, words.sentence(f"{', '.join(names)}; in the last epoch {last}")


def _panel(name: str, title: str, points: list[tuple], best: int | None, note: str):
    values = [(epoch, value) for epoch, value in points if not words.missing(value)]
    if not values:
        return None
    (first, start), (last, end) = values[0], values[-1]
    alt = f"{title} over epochs: {words.number(start)} at epoch {first}, {words.number(end)} at epoch {last}"
    picture = curves([Curve(title, points)], name=f"fig-{name}", title=title, alt=alt, best=best)
    return picture, words.sentence(words.MEANING.get(note, note))


def _table(result: dict | None) -> dict | None:
    """Columns (title, note) and rows (metric, values) of the final metrics: parts first, then groups."""
    if result is None:
        return None
    columns, values = [], []
    for part in sorted(result["metrics"], key=("test", "valid").__contains__):
        columns.append((_part(part), "all users"))
        values.append(result["metrics"][part])
    for part, groups in (result.get("groups") or {}).items():
        for group, held in (groups or {}).items():
            counts = f"{words.number(held['users'])} users, {words.number(held['pairs'])} pairs"
            columns.append((f"{_part(part)}, {group.replace('_', ' ')}", counts))
            flat = {name: value for name, value in held.items() if name not in ("users", "pairs")}
            values.append(held.get("metrics") or flat)
    names = list(dict.fromkeys(name for held in values for name in held))
    return {"columns": columns, "rows": [(name, [held.get(name) for held in values]) for name in names]}


def _stages(metrics: list[dict]) -> list[tuple[str, float, float]]:
    """(stage, seconds over all epochs, share) in the order of the step."""
    total: dict[str, float] = {}
    for record in metrics:
        for stage, value in (record.get("seconds") or {}).items():
            total[stage] = total.get(stage, 0.0) + (0.0 if words.missing(value) else value)
    whole = sum(total.values())
    return [(stage, value, value / whole if whole else 0.0) for stage, value in total.items()]


def _diagnostics(result: dict | None) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of the best epoch's measurements of the sampler."""
    out = []
    for name, text in words.rows((result or {}).get("diagnostics") or {}):
        value = (result or {})["diagnostics"].get(name)
        if name in ("false_negative_rate", "dead_rows", "coverage"):
            text = words.share(value)
        out.append((name.replace("_", " "), text, words.sentence(words.MEANING.get(name, ""))))
    return out
