"""``negsieve train``: one model on one log, with progress and a table at the end."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from negsieve.cli import failure, options, screen, settings
from negsieve.errors import UsageError

EXAMPLES = options.examples(
    ("the data that comes along, the defaults", "negsieve train"),
    (
        "your own log, hard negatives, a graph model",
        "negsieve train log.csv --model lightgcn --sampler dns:candidates=16",
    ),
    ("columns with unusual names", "negsieve train log.tsv --columns user=who,item=what --split loo"),
    (
        "half of the negatives from what people skipped",
        "negsieve train log.csv --negatives skips.csv --sampler explicit:share=0.5",
    ),
    ("one domain of a log of several", "negsieve train log.csv --target toy --source game"),
    ("a sampler of your own", "negsieve train log.csv --sampler shop.samplers:nearby:width=5"),
    ("the settings of another run, but one", "negsieve train --config runs/first/config.yaml --set train.lr=0.01"),
    ("go on with a run that was stopped", "negsieve train --resume runs/first"),
)


def train(
    data: options.Data = None,
    model: options.Model = None,
    sampler: options.Sampler = None,
    loss: options.Loss = None,
    oracle: options.Oracle = None,
    epochs: options.Epochs = None,
    lr: options.Lr = None,
    l2: options.L2 = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = None,
    device: options.Device = None,
    engine: options.Engine = None,
    threads: options.Threads = None,
    columns: options.Columns = None,
    format: options.DataFormat = None,
    split: options.Split = None,
    target: options.Target = None,
    source: options.Source = None,
    negatives: options.NegativesFile = None,
    out: options.RunFolder = None,
    name: options.Name = None,
    config: options.Config = None,
    set_: options.Set = None,
    resume: options.Resume = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on a log and measure it.

    Everything about the run (settings, weights, figures, a page with pictures) goes into one folder.
    """
    quiet = quiet or json
    training = {
        "epochs": epochs,
        "lr": lr,
        "l2": l2,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "engine": engine,
        "threads": threads,
    }
    if resume is not None:
        settings.refuse_together(
            "--resume goes on with the run as it was configured",
            **training | {"model": model, "loss": loss, "columns": columns, "format": format, "split": split},
            **{"target": target, "source": source},
            **{"oracle": oracle, "negatives": negatives, "out": out, "name": name, "config": config, "set": set_},
        )
        if data is not None:
            raise UsageError(f"--resume has its data in the run already; leave out {data!r}")
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
        if resume is not None:
            result = _resumed(resume, sampler, quiet)
        else:
            layers = settings.layered(
                config=config,
                assignments=set_,
                data=data,
                columns=columns,
                data_format=format,
                split=split,
                negatives=negatives,
                target=target,
                source=source,
                top={"model": model, "sampler": sampler, "loss": loss, "oracle": oracle, "name": name},
                train=training,
            )
            result = _trained(layers, settings.typed(sampler, set_), out, quiet)
    result = result | {"report": str(Path(result["run"]) / "report.html")}
    if json:
        screen.write_json(result)
    else:
        show(result)


def _trained(layers: dict[str, Any], sampler: str | None, out: Path | None, quiet: bool) -> dict[str, Any]:
    from negsieve import api
    from negsieve.cli import early, watch_run
    from negsieve.config import resolve

    config = resolve(layers)
    early.check(config, typed=sampler)
    dataset = read(layers, quiet=quiet)
    best = watch_run.Best(config.chooser, config.train.select_on)
    with watch_run.told(best, quiet=quiet) as watch:
        return api.train(dataset, sampler=sampler, settings=layers, out=out, watch=watch)


def _resumed(run: Path, sampler: str | None, quiet: bool) -> dict[str, Any]:
    from negsieve import api
    from negsieve.cli import watch_run
    from negsieve.config import resolve
    from negsieve.store.run import Run

    found = Run.open(run)
    config = resolve(found.config())
    best = watch_run.Best(config.chooser, config.train.select_on, found.metrics())
    with watch_run.told(best, quiet=quiet) as watch:
        return api.resume(run, sampler=sampler, watch=watch)


def read(layers: dict[str, Any], *, quiet: bool):
    """The data set that the settings name; says on stderr what was read, guessed and left out."""
    from negsieve import api
    from negsieve.config import resolve

    config = resolve(layers).data
    with screen.busy(f"reading {screen.shortened(config.source, 60)}", quiet=quiet):
        dataset = api.load_data(config.source, config=config)
    if not quiet:
        from negsieve.data.summary import summary

        for line in data_lines(summary(dataset)):
            failure.note(line, wrap=True)
    return dataset


def data_lines(told: dict[str, Any]) -> list[str]:
    """What was read in a line, and one more where something was guessed, refused or left out."""
    parts = ", ".join(f"{word} {count:,}" for word, count in told["parts"].items())
    lines = [
        f"{told['name']}: {told['users']:,} users, {told['items']:,} items, {told['interactions']:,} rows ({parts})"
    ]
    if told["guessed"]:
        lines.append("columns guessed: " + ", ".join(f"{role} = {name}" for role, name in told["guessed"].items()))
    if told["negatives"]:
        from negsieve.data.explicit import words

        lines.append(f"explicit negatives: {words(told['negatives'])}")
    names = list(told.get("domains", {}).get("each", {}))
    if len(names) > 1:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        lines.append(f"domains {shown} are one catalogue; --target {names[0]} would train on one of them")
    if told.get("target"):
        from negsieve.data.summary import target_lines

        lines += [f"{label}: {text}" for label, text in target_lines(told["target"])]
    gone = {step: count for step, count in told["dropped"].items() if count}
    if told["rows_rejected"]:
        gone = {"refused": told["rows_rejected"]} | gone
    if gone:
        lines.append(
            "rows left out: " + ", ".join(f"{count:,} {step.replace('_', ' ')}" for step, count in gone.items())
        )
    return lines


def show(result: dict[str, Any]) -> None:
    """The result for people, on stdout."""
    from negsieve.cli import figures
    from negsieve.report import words
    from negsieve.training import memory

    out = screen.console()
    chosen = result["selection"]
    out.print()
    head = screen.plain(f"{result['model']} · {result['sampler']} · {result['loss']}", "bold")
    head.append(f"   seed {result['seed']}", "dim not bold")
    out.print(head)
    out.print()
    out.print(figures.metrics_table(result["metrics"], result["groups"], chosen=chosen["metric"]))
    out.print()
    by = f"by {chosen['metric']} on {chosen['part']}" if chosen["part"] else "the last: there is nothing to choose on"
    rate = result["false_negative_rate"]
    told = [
        ("started from", words.started(result)),
        ("best epoch", f"{result['best_epoch']}, {by}"),
        ("stopped", f"after {result['epochs']} epochs: {result['stopped']}"),
        ("false negatives", None if rate is None else f"{words.share(rate)} of the negatives drawn in that epoch"),
        ("note", "; ".join(result.get("stamps", [])) or None),
        ("protocol", figures.protocol_words(result["biased"], result.get("protocol"))),
        ("time", words.duration(result["seconds"])),
        ("memory", f"{memory.peak() / 1e6:,.0f} MB at most"),
        ("run", result["run"]),
        ("report", result["report"]),
    ]
    out.print(screen.facts(told))
    out.print()
    failure.note(f"See what it recommends: negsieve recommend {result['run']}")
