"""``negsieve evaluate``: a finished run, measured again in another way."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

from negsieve.cli import complete, options, screen

EXAMPLES = options.examples(
    ("the test part, all metrics of the run", "negsieve evaluate runs/first"),
    ("other metrics", "negsieve evaluate runs/first --metrics recall@5,recall@50,auc"),
    ("validation, for a script", "negsieve evaluate runs/first --part valid --json"),
    (
        "among 99 drawn items, as some papers do (biased)",
        "negsieve evaluate runs/first --protocol sampled --negatives 99",
    ),
)


def evaluate(
    run: options.RunPath,
    part: Annotated[
        str, options.option("--part", help="test (the default) or valid", metavar="PART", completion=complete.parts)
    ] = "test",
    metrics: Annotated[
        str | None,
        options.option("--metrics", help="Such as recall@10,ndcg@10,auc. See: negsieve list metrics", metavar="A,B"),
    ] = None,
    protocol: Annotated[
        str | None,
        options.option(
            "--protocol",
            help="full ranks all items; sampled each held-out item among a few drawn ones; both",
            metavar="PROTOCOL",
            completion=complete.protocols,
        ),
    ] = None,
    negatives: Annotated[
        int | None,
        options.option("--negatives", help="How many are drawn by --protocol sampled (99)", metavar="N", min=1),
    ] = None,
    seed: Annotated[
        int | None,
        options.option("--seed", help="Of the items drawn by --protocol sampled (42), for another draw", metavar="N"),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a finished run: other metrics, another part, another protocol."""
    from negsieve import api

    names = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
        with screen.busy("measuring", quiet=quiet or json):
            found = api.evaluate(run, part=part, metrics=names, protocol=protocol, n_negatives=negatives, seed=seed)
    if json:
        screen.write_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from negsieve.cli import figures

    out = screen.console()
    out.print()
    out.print(figures.metrics_table({found["part"]: found["metrics"]}, {found["part"]: found["groups"]}, chosen=""))
    out.print()
    biased = figures.protocol_words(found["biased"], found["protocol"])
    hidden = found.get("unreachable") if found["protocol"] != "sampled" else 0  # there nothing is masked
    told = [
        ("users, rows", f"{found['users']:,} users, {found['pairs']:,} rows held out"),
        ("unreachable", f"{hidden:,} rows repeat what the user had before: they count as misses" if hidden else None),
        ("note", "; ".join(found["stamps"]) or None),
        ("protocol", biased or "all items ranked, those of train (and, for test, of valid) left out"),
        ("run", found["run"]),
    ]
    out.print(screen.facts(told))
    out.print()
