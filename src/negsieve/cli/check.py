"""``negsieve check``: every sampler for a few epochs on some data, and which of them break."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from negsieve.cli import complete, failure, options, screen, settings
from negsieve.cli.train import read

EXAMPLES = options.examples(
    ("every named method on the data that comes along, cut to 300 users", "negsieve check --users 300"),
    ("some, on a log of your own", "negsieve check log.csv --sampler dns --sampler pdns:beta=0.3"),
    ("a sampler of your own", "negsieve check --sampler shop.samplers:nearby:width=5 --users 300"),
    ("on a graph model, for a script", "negsieve check --model lightgcn:layers=2 --users 100 --json"),
)

_SAID = {True: ("ok", "green"), False: ("failed", "bold red"), None: ("not tried", "dim")}


Tried = Annotated[
    list[str] | None,
    options.option(
        "--sampler",
        help="What to try, repeatable: a name, package.module:function, or all (the default)",
        panel=options.METHOD,
        metavar="NAME",
        completion=complete.samplers,
    ),
]
Epochs = Annotated[
    int, options.option("--epochs", help="Epochs for each (2)", panel=options.TRAINING, metavar="N", min=2)
]
Users = Annotated[
    int | None,
    options.option(
        "--users",
        help="So many users of the data and the items that they touch, the same ones every time",
        panel=options.DATA,
        metavar="N",
        min=1,
    ),
]


def check(
    data: options.Data = None,
    sampler: Tried = None,
    model: options.Model = None,
    loss: options.Loss = None,
    epochs: Epochs = 2,
    users: Users = None,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    engine: options.Engine = None,
    columns: options.Columns = None,
    format: options.DataFormat = None,
    split: options.Split = None,
    target: options.Target = None,
    source: options.Source = None,
    negatives: options.NegativesFile = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Try samplers for a few epochs and say which break.

    One fails that ends in an error or a loss that is not finite,
    keeps an item that the user has in train,
    or ends with other bits after a stop and a resume.
    Without --model: mf, and lightgcn where a sampler needs layers.
    """
    from negsieve.cli import early
    from negsieve.config import resolve
    from negsieve.review import calls
    from negsieve.review.tryout import canonical

    quiet = quiet or json
    samplers = sampler or ["all"]
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
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
            train={"batch_size": batch_size, "device": device, "engine": engine},
        )
        names = canonical(samplers)
        resolve(layers)
        for name in names:
            early.check_method(model or "mf", name, loss or "auto", trusted=True)
        dataset = read(layers, quiet=quiet)
        with _progress(len(names), quiet=quiet) as told:
            found = calls.check(
                dataset,
                samplers=samplers,
                model=model,
                loss=loss or "auto",
                epochs=epochs,
                users=users,
                settings=layers,
                told=told,
            )
    if json:
        screen.write_json(found)
    else:
        show(found)
    if found["failed"]:
        raise typer.Exit(failure.DEFECT)


@contextlib.contextmanager
def _progress(many: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal, a line a method elsewhere, nothing when quiet. On stderr."""
    console = screen.console(stderr=True)
    if quiet:
        yield lambda verdict: None
    elif console.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[at]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=many, at=f"0/{many}")
            done = iter(range(1, many + 1))
            yield lambda verdict: bar.update(task, advance=1, at=f"{next(done)}/{many}  {verdict.method}")
    else:
        done = iter(range(1, many + 1))
        yield lambda verdict: failure.note(f"[{next(done)}/{many}] {verdict.method}  {verdict.why or 'ok'}")


def show(found: dict[str, Any]) -> None:
    """The table for people, on stdout."""
    from negsieve.report import words

    out, data = screen.console(), found["data"]
    out.print()
    head = screen.plain(data["name"], "bold")
    counts = f"   {data['users']:,} users, {data['items']:,} items, {data['train']:,} rows in train"
    out.print(head.append_text(screen.plain(f"{counts}; {found['epochs']} epochs", "dim not bold")))
    out.print()
    made = screen.table("method", "loss", "model", "time", "false", "hardness", "", right=3)
    for row in found["rows"]:
        hard = row["hardness"]
        made.add_row(
            screen.plain(row["method"]),
            screen.plain(row["loss"] or words.ABSENT),
            screen.plain(row["model"] or words.ABSENT),
            words.duration(row["seconds"]),
            words.share(row["false_negative_rate"]),
            words.ABSENT if hard is None else f"{hard:.0f}",
            screen.plain(*_SAID[row["ok"]]),
        )
    out.print(made)
    out.print()
    for row in (one for one in found["rows"] if not one["ok"]):
        style = _SAID[row["ok"]][1]
        out.print(screen.plain(f"{row['method']}: {row['why']}", style, keep="\n"), soft_wrap=True)
    tried = sum(one["ok"] is not None for one in found["rows"])
    verdict = f"{found['failed']} of {tried} failed" if found["failed"] else f"all {tried} ok"
    note = (
        "False: share of the negatives that the user took in the held-out part. Hardness: their percentile among "
        "random items by the model's score."
    )
    out.print(screen.plain(f"{verdict}. {note}", "dim"))
    out.print()
