"""The named experiments: every row of Tables 2 to 4, the figures' grids, and the controls.

Rows of different experiments with the same model, sampler and start are one run. Where the publication gives no
sizes (candidates of the baselines) or shows ticks only in an image (most figures), values and grids are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from negsieve.errors import UsageError, nearest

from .published import TABLE2, TABLE3, TABLE4, Figures
from .settings import Preset

TARGETS = ("game", "toy")
UNS = "uniform:n_negatives=20"
BASELINES = {
    "NNCF": "popularity:alpha=0.75,n_negatives=20",
    "AugNS": "augns:eps=0.1,n_negatives=20",
    "SRNS": "srns",
    "DNS": "dns_star:m=1,n=10",
    "DNS*": "dns_star:m=5,n=50",
    "MixGCF": "dns_star:m=1,mix=true,n=10",
}
"""20 negatives, of DNS, DNS* and MixGCF 10 hard; SRNS chooses one from its memory, as its paper has it."""

BAND = {"toy": "p_min=30,p_max=40", "game": "p_min=10,p_max=20"}
OUTLIERS = {"toy": 0.1, "game": 0.8}


@dataclass(frozen=True)
class Row:
    """One method of one experiment. ``model``: a short name of ``settings.model_of``; ``start``: of its encoders."""

    label: str
    sampler: str
    model: str = "sasrec_cdr"
    start: str = "scratch"
    oracle: str = ""
    published: Figures | None = None


@dataclass(frozen=True)
class Experiment:
    """A table, a figure or the controls, of one target domain."""

    kind: str
    target: str
    title: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.target}"


def experiments(preset: Preset) -> dict[str, Experiment]:
    """All of them, by name such as ``table3:game``."""
    found = [make(target, preset) for make in MAKERS for target in TARGETS]
    return {one.name: one for one in found if one is not None}


def real(target: str, preset: Preset, *, sampler: str = "realhns", **changes) -> Row:
    """A row of RealHNS; ``changes`` are parameters other than those of the paper's setting for the target."""
    values = dict(one.split("=") for one in BAND[target].split(","))
    if sampler == "realhns":
        values["outliers"] = str(OUTLIERS[target])
    values |= dict(one.split("=") for one in preset.sampler.split(",") if one)
    values |= {name: str(value).lower() for name, value in changes.items()}
    text = f"{sampler}:" + ",".join(f"{name}={value}" for name, value in sorted(values.items()))
    return Row("", text, start=preset.start, oracle=preset.oracle)


def _plain(label: str, sampler: str, preset: Preset) -> Row:
    return Row(label, sampler, start=preset.start)


def table2(target: str, preset: Preset) -> Experiment:
    full = {"RealHNS(MixGCF)": real(target, preset, base="mixgcf"), "RealHNS(DNS*)": real(target, preset)}
    rows = [_plain("UNS", UNS, preset), *(_plain(label, text, preset) for label, text in BASELINES.items())]
    rows += [replace(row, label=label) for label, row in full.items()]
    known = TABLE2[target] | {"UNS": TABLE3[target]["UNS"]}
    return Experiment("table2", target, "baselines and RealHNS, two-domain SASRec", _with(known, rows))


def ablation(target: str, preset: Preset, **changes) -> list[Row]:
    steps = {"+GS": {"cross": False}, "+GS+CS": {"user_filter": False}, "+GS+CS+UF": {}}
    return [replace(real(target, preset, **changes, **how), label=label) for label, how in steps.items()]


def table3(target: str, preset: Preset) -> Experiment:
    rows = [_plain("UNS", UNS, preset), _plain("DNS*", BASELINES["DNS*"], preset), *ablation(target, preset)]
    return Experiment("table3", target, "ablation on DNS*", _with(TABLE3[target], rows))


def table4(target: str, preset: Preset) -> Experiment | None:
    if target != "game":  # published for games alone
        return None
    rows = []
    for family, model in (("BPR-MF", "mf"), ("SASRec", "sasrec"), ("DASL", "dasl")):
        start = preset.start if model == "dasl" else "scratch"  # what would be pre-trained is the model itself
        name = "realhns" if model == "dasl" else "realhns_general"
        own = {"UNS": Row("", UNS), "DNS": Row("", BASELINES["DNS"]), "RealHNS": real(target, preset, sampler=name)}
        rows += [replace(row, label=f"{family} {key}", model=model, start=start) for key, row in own.items()]
    return Experiment("table4", target, "other models, 20 negatives of which 10 hard", _with(TABLE4, rows))


def figure1(target: str, preset: Preset) -> Experiment:
    rows = [_plain(f"{n} random", f"uniform:n_negatives={n}", preset) for n in (1, 2, 5, 10, 20, 50, 100)]
    return Experiment("figure1", target, "number of random negatives (grid ours)", tuple(rows))


def figure3(target: str, preset: Preset) -> Experiment:
    rows = []
    for label, base in (("DNS", "dns"), ("MixGCF", "mixgcf")):
        rows.append(_plain(label, BASELINES[label], preset))
        steps = [row for row in ablation(target, preset, base=base) if row.label != "+GS+CS"]
        rows += [replace(row, label=f"{label} {row.label}") for row in steps]
    return Experiment("figure3", target, "selectors and filter on other bases", tuple(rows))


def figure4(target: str, preset: Preset) -> Experiment:
    edges = range(0, 50, 10)
    grids = {f"general {low} to {low + 10} %": {"p_min": low, "p_max": low + 10} for low in edges}
    fine = ((0, 50), (0, 100), (0, 200), (100, 200))
    grids |= {f"fine {low} to {high}": {"fine_min": low, "fine_max": high} for low, high in fine}
    grids |= {f"cross-domain 0 to {low + 10} %": {"cross_max": low + 10} for low in edges}
    return _grid("figure4", target, "ranges of the selectors (grids ours)", grids, preset)


def figure5(target: str, preset: Preset) -> Experiment:
    hard = {f"{5 * n} hard, 4 to 1": {"n_general": 4 * n, "n_cross": n} for n in (1, 2, 3, 4)}
    cross = {"0 cross-domain of 10": {"cross": False}}
    cross |= {f"{n} cross-domain of 10": {"n_general": 10 - n, "n_cross": n} for n in (2, 4, 6, 8, 9)}
    return _grid("figure5", target, "numbers of hard columns (grids ours)", hard | cross, preset)


def figure6(target: str, preset: Preset) -> Experiment:
    grids = {f"chi {value}": {"chi": value} for value in (1, 2, 5, 10, 20)}
    grids |= {f"tau {value}": {"tau": value} for value in (1.01, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5)}
    return _grid("figure6", target, "the filter's schedule (grids ours)", grids, preset)


def figure7(target: str, preset: Preset) -> Experiment:
    grids = {f"outliers {value}": {"outliers": value} for value in (0, 0.1, 0.5, 0.8, 1)}
    grids |= {f"{value} user clusters": {"user_clusters": value} for value in (5, 10, 20, 50, 100)}
    return _grid("figure7", target, "outliers and user clusters", grids, preset)


def controls(target: str, preset: Preset) -> Experiment:
    """What a reader wants to know before believing the tables. Leak: held-out items are kept out of the candidates."""
    asked = {
        "random users for outliers": {"outlier_score": "random"},
        "outliers by the first centroid": {"outlier_centroid": "first", "centroid": "normalised"},
        "random band": {"p_min": 0, "p_max": 100},
        "filter off": {"item_filter": "off"},
        "filter inverted": {"item_filter": "inverted"},
        "all hard columns from the start": {"curriculum": False},
        "band 20 to 30 %": {"p_min": 20, "p_max": 30},
    }
    rows = [_plain("UNS", UNS, preset), replace(real(target, preset), label="RealHNS(DNS*)")]
    rows += [replace(real(target, preset, **how), label=label) for label, how in asked.items()]
    if preset.oracle:
        rows.append(replace(real(target, preset, exclude="train"), label="leak off", oracle=""))
    else:
        rows.append(replace(real(target, preset, exclude="all"), label="leak on", oracle="valid+test"))
    rows.append(_plain("DNS*, hard columns come in", BASELINES["DNS*"] + ",curriculum=true", preset))
    other = {"scratch": "pretrained", "pretrained": "scratch"}[preset.start]
    both = {"UNS": _plain("", UNS, preset), "DNS*": _plain("", BASELINES["DNS*"], preset)}
    both["RealHNS(DNS*)"] = real(target, preset)
    rows += [replace(row, label=f"{label}, {other}", start=other) for label, row in both.items()]
    return Experiment("controls", target, "controls", tuple(rows))


def sizes(target: str, preset: Preset) -> Experiment:
    """The baselines' candidates, which the paper calls tuned and does not give."""
    rows = [_plain("UNS", UNS, preset)]
    rows += [_plain(f"DNS, {n}", f"dns_star:m=1,n={n}", preset) for n in (2, 5, 10, 20, 50, 100)]
    rows += [
        _plain(f"DNS*, {m} of {n}", f"dns_star:m={m},n={n}", preset) for m, n in ((2, 10), (5, 20), (5, 50), (10, 100))
    ]
    rows += [_plain(f"MixGCF, {n}", f"dns_star:m=1,mix=true,n={n}", preset) for n in (2, 5, 10, 20, 50, 100)]
    return Experiment("sizes", target, "candidates of the baselines (grid ours)", tuple(rows))


MAKERS: tuple[Callable[[str, Preset], Experiment | None], ...] = (
    table2,
    table3,
    table4,
    controls,
    figure1,
    figure3,
    figure4,
    figure5,
    figure6,
    figure7,
    sizes,
)


def _grid(kind: str, target: str, title: str, grids: dict[str, dict], preset: Preset) -> Experiment:
    rows = [_plain("UNS", UNS, preset)]
    rows += [replace(real(target, preset, **how), label=label) for label, how in grids.items()]
    return Experiment(kind, target, title, tuple(rows))


def _with(known: dict[str, Figures], rows: list[Row]) -> tuple[Row, ...]:
    return tuple(replace(row, published=known[row.label]) for row in rows)


def chosen(found: dict[str, Experiment], only: list[str]) -> list[Experiment]:
    """The experiments that ``only`` names (``table3:game``, ``table3`` or ``game``); all where it names none.

    Raises UsageError for a name that fits none.
    """
    for name in only:
        if not any(_fits(one, name) for one in found.values()):
            raise UsageError(f"--only {name}: wanted one of {', '.join(found)}, or a part of such a name")
    return [one for one in found.values() if not only or any(_fits(one, name) for name in only)]


def picked(several: list[Experiment], methods: list[str]) -> list[tuple[Experiment, Row]]:
    """The rows to run: those that ``methods`` labels, or all. Raises UsageError for a label that no row has."""
    labels = list(dict.fromkeys(row.label for one in several for row in one.rows))
    for label in methods:
        if label not in labels:
            raise UsageError(f"--methods {label}: wanted some of {', '.join(labels)}.{nearest(label, labels)}")
    return [(one, row) for one in several for row in one.rows if not methods or row.label in methods]


def _fits(one: Experiment, name: str) -> bool:
    return name in (one.name, one.kind, one.target)
