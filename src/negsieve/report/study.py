"""The page of a comparison: which method is best, by how much, how surely, and at what price."""

from __future__ import annotations

from pathlib import Path

from negsieve import __version__
from negsieve.errors import DataError, NegsieveError
from negsieve.report import words
from negsieve.report.figures import Curve, Spot, curves, scatter, visible_range
from negsieve.report.page import write_page
from negsieve.report.verdict import protocol, verdict
from negsieve.store.atomic import read_json
from negsieve.store.run import Run

_STATED = {
    "seeds": "the seeds of the runs",
    "test": "the significance test",
    "correction": "the correction for many tests",
    "baseline": "the method that the others are compared with",
    "primary": "the metric that the comparison is about",
    "metrics": "the metrics of the table",
}


def study_page(study_dir: str | Path) -> Path:
    """Writes ``report.html`` into a study directory and returns its path. Reads files only.

    Raises DataError when the table states no seeds, test, correction, baseline or primary metric,
    or when its runs were made on different data; MissingInput where a file is not there. Missing,
    failed and unreadable runs are listed on the page.
    """
    folder = Path(study_dir)
    study, table = read_json(folder / "study.json"), read_json(folder / "table.json")
    try:
        _refuse(folder, study, table)
        values = _values(folder, study, table["rows"])
    except (KeyError, TypeError, AttributeError) as problem:
        raise DataError(f"found a table that lacks or mistypes {problem}", file=folder / "table.json") from problem
    return write_page(folder / "report.html", "study.html", values)


def _refuse(folder: Path, study: dict, table: dict) -> None:
    for name, what in _STATED.items():
        if not study.get(name):
            raise DataError(
                f"states no {name} ({what}): a comparison without it says nothing", file=folder / "study.json"
            )
    if not table.get("rows"):
        raise DataError("found no rows, wanted one a method", file=folder / "table.json")
    methods = [row["method"] for row in table["rows"]]
    if study["baseline"] not in methods:
        raise DataError(
            f"found no row of the baseline {study['baseline']!r} among {words.plural(len(methods), 'method')}",
            file=folder / "table.json",
        )
    if study["primary"] not in study["metrics"]:
        raise DataError(
            f"found the primary metric {study['primary']!r} not among its metrics", file=folder / "study.json"
        )


def _values(folder: Path, study: dict, rows: list[dict]) -> dict:
    primary = study["primary"]
    trained = [row for row in rows if not row["reference"]]
    series = {row["method"]: place for place, row in enumerate(trained)}
    runs = _runs(folder, rows)
    _same_data(folder, study, runs)
    missing = _missing(study, trained, runs)
    ordered = sorted(rows, key=lambda row: -_known(row["mean"].get(primary)))
    return {
        "study": study,
        "title": study.get("name") or "Comparison",
        "verdict": verdict(study, rows, missing),
        "rows": [_row(row, study, series) for row in ordered],
        "groups": _groups(ordered, primary),
        "scale": _scale(rows),
        "missing": missing,
        "scatters": _scatters(study, rows, series),
        "below": _outside(study, rows),
        "panels": _panels(study, trained, series, runs),
        "legend": [(series[row["method"]], row["method"]) for row in trained],
        "data": words.rows(study.get("data") or {}),
        "data_hash": _hash(study, runs),
        "data_name": (study.get("data") or {}).get("name"),
        "protocol": protocol(study, runs, _hash(study, runs)),
        "created": str(study.get("created") or "")[:10],
        "budget": words.rows(study.get("budget") or {}),
        "runs": runs,
        "version": __version__,
    }


def _known(value) -> float:
    return float("-inf") if words.missing(value) else value


def _row(row: dict, study: dict, series: dict) -> dict:
    """One line of the table, with everything the template shows."""
    done, wanted = len(row["seeds"]), len(study["seeds"])
    return {
        **row,
        "oracle": row.get("oracle") or [],
        **{name: row.get(name) or {} for name in ("mean", "sd", "false_negative_rate", "seconds")},
        "series": series.get(row["method"]),
        "baseline": row["method"] == study["baseline"],
        "done": f"{done} of {wanted}" if not row["reference"] else words.ABSENT,
        "short": not row["reference"] and done < wanted,
        "significant": _significant(row),
    }


def _groups(rows: list[dict], primary: str) -> dict | None:
    """Columns and rows of the primary metric by group of users and items; None where all are warm."""
    told = [(row["method"], row["groups"]) for row in rows if row.get("groups")]
    users = {name: held["users"] for _, groups in reversed(told) for name, held in groups.items()}
    if set(users) <= {"warm"}:
        return None
    return {
        "columns": [(name.replace("_", " "), f"{count:,} users") for name, count in users.items()],
        "rows": [(method, [groups.get(name, {}).get(primary) for name in users]) for method, groups in told],
    }


def _significant(row: dict) -> bool:
    p = (row.get("difference") or {}).get("p_adjusted")
    return not words.missing(p) and p < words.LEVEL


def _scale(rows: list[dict]) -> tuple[float, float]:
    """The span of all intervals and zero: what the small interval pictures of the table share."""
    ends = [row["difference"][end] for row in rows if row.get("difference") for end in ("low", "mean", "high")]
    known = [0.0, *(end for end in ends if not words.missing(end))]
    return (min(known), max(known)) if min(known) < max(known) else (-1.0, 1.0)


def _runs(folder: Path, rows: list[dict]) -> list[dict]:
    """What each named run directory holds: its result and metrics, or why they cannot be shown."""
    found = []
    for row in rows:
        for name in row.get("runs") or []:
            one = {"method": row["method"], "path": name, "result": None, "metrics": [], "why": None}
            try:
                path = folder / name
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise DataError("leads outside the study", file=name)
                run = Run.open(path)
                one["result"], one["metrics"] = run.result(), run.metrics()
                if one["result"] is None:
                    one["why"] = "is not finished"
            except (NegsieveError, OSError) as problem:
                one["why"] = str(problem).replace(f"{folder}/", "")
            found.append(one)
    return found


def _hash(study: dict, runs: list[dict]) -> str | None:
    known = [one["result"].get("data_hash") for one in runs if one["result"]]
    return (study.get("data") or {}).get("hash") or next((one for one in known if one), None)


def _same_data(folder: Path, study: dict, runs: list[dict]) -> None:
    wanted = _hash(study, runs)
    for one in runs:
        found = (one["result"] or {}).get("data_hash")
        if found is not None and found != wanted:
            raise DataError(
                f"was made on data {found}, wanted {wanted}: runs on different data cannot share a table. "
                "Remove that run and compare again.",
                file=folder / one["path"],
            )


def _missing(study: dict, trained: list[dict], runs: list[dict]) -> list[dict]:
    """Every planned run that did not end well or can no longer be read, each with why; none is left out."""
    out = []
    for row in trained:
        told = {one["seed"]: one.get("why") or "no reason was recorded" for one in row.get("missing") or []}
        own = [one for one in runs if one["method"] == row["method"]]
        readable = {one["result"].get("seed") for one in own if one["result"]}
        lost = "; ".join(f"{one['path']}: {one['why']}" for one in own if one["why"])
        for seed in study["seeds"]:
            if seed in told or seed not in row["seeds"]:
                out.append({"method": row["method"], "seed": seed, "why": told.get(seed, "there is no record of it")})
            elif own and seed not in readable:
                why = f"its figures stand in the table, but no folder of it can be read now ({lost or 'none is named'})"
                out.append({"method": row["method"], "seed": seed, "why": why, "counted": True})
    for one in (one for one in runs if one["why"]):
        if not any(one["path"] in gone["why"] or not gone.get("counted") for gone in _of(out, one["method"])):
            out.append({"method": one["method"], "seed": None, "why": f"{one['path']}: {one['why']}"})
    return out


def _of(missing: list[dict], method: str) -> list[dict]:
    return [one for one in missing if one["method"] == method]


def _label(row: dict, rows: list[dict]) -> str:
    """The shortest name that tells a method from the others in a picture."""
    parts = [row["sampler"]]
    for name in ("model", "loss"):
        if len({one[name] for one in rows if not one["reference"]}) > 1:
            parts.insert(0 if name == "model" else len(parts), row[name])
    return " · ".join(parts) + (" (oracle)" if row.get("oracle") else "")


def _spots(study: dict, rows: list[dict], series: dict) -> list[Spot]:
    primary, out = study["primary"], []
    for row in rows:
        rate = row.get("false_negative_rate") or {}
        if row["reference"] or words.missing(rate.get("mean")) or words.missing(row["mean"].get(primary)):
            continue
        sds = [None if words.missing(one) else one for one in (rate.get("sd"), (row.get("sd") or {}).get(primary))]
        x_sd = None if sds[0] is None else 100 * sds[0]
        spot = Spot(_label(row, rows), 100 * rate["mean"], row["mean"][primary], x_sd, sds[1], series[row["method"]])
        out.append(spot)
    return out


def _levels(study: dict, rows: list[dict]) -> list[tuple[str, float]]:
    primary = study["primary"]
    known = [row for row in rows if row["reference"] and not words.missing(row["mean"].get(primary))]
    return [(f"{row['method']}, untrained", row["mean"][primary]) for row in known]


def _scatters(study: dict, rows: list[dict], series: dict) -> list[tuple[str, object]]:
    """The scatter drawn twice, for a wide and for a narrow screen; empty when nothing was measured."""
    spots = _spots(study, rows, series)
    if not spots:
        return []
    told = "; ".join(f"{one.label}: {words.number(one.y)} at {words.number(one.x, 2)} %" for one in spots)
    looks = {
        "levels": _levels(study, rows),
        "x": "false negatives among the chosen, %",
        "y": f"test {study['primary']}",
        "alt": f"Test {study['primary']} against the false-negative rate of the chosen negatives. {told}",
    }
    return [
        ("wide", scatter(spots, name="fig-scatter-wide", width=760, height=430, **looks)),
        ("narrow", scatter(spots, name="fig-scatter-narrow", width=380, height=400, **looks)),
    ]


def _outside(study: dict, rows: list[dict]) -> list[str]:
    """Reference lines that fall outside the scatter, in words."""
    spots = _spots(study, rows, {row["method"]: 0 for row in rows})
    if not spots:
        return []
    low, high = visible_range(spots, _levels(study, rows))
    return [
        f"The line of {label}, at {words.number(level)}, lies {'below' if level < low else 'above'} the picture."
        for label, level in _levels(study, rows)
        if not low <= level <= high
    ]


def _panels(study: dict, trained: list[dict], series: dict, runs: list[dict]) -> list[tuple]:
    """Curves over epochs of the validation metric and of the false-negative rate, a line a method."""
    primary = study["primary"]
    wanted = (
        ("valid", f"Validation {primary}", lambda record: (record.get("valid") or {}).get(primary)),
        ("false", "False-negative rate, %", lambda record: _hundred(record.get("false_negative_rate"))),
    )
    out = []
    for name, title, read in wanted:
        lines = []
        for row in trained:
            own = [one["metrics"] for one in runs if one["method"] == row["method"] and one["metrics"]]
            points = _mean_curve(own, read)
            if points:
                lines.append(Curve(row["method"], points, series[row["method"]]))
        if lines:
            ends = "; ".join(f"{line.label} ends at {words.number(line.points[-1][1])}" for line in lines)
            alt = f"{title} over epochs, mean over seeds. {ends}"
            out.append(curves(lines, name=f"fig-{name}", title=title, alt=alt, wide=True))
    return out


def _hundred(value):
    return None if words.missing(value) else 100 * value


def _mean_curve(logs: list[list[dict]], read) -> list[tuple[int, float]]:
    """The mean over seeds on the epochs that all of them measured: seeds that stop early cause no jump."""
    held = [{one["epoch"]: read(one) for one in log if not words.missing(read(one))} for log in logs]
    shared = sorted(set.intersection(*(set(one) for one in held))) if held else []
    return [(epoch, sum(one[epoch] for one in held) / len(held)) for epoch in shared]
