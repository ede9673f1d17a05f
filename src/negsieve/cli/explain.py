"""``negsieve explain``: what a method is made of, needs, costs and equals."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from negsieve.cli import complete, options, screen, settings
from negsieve.cli.train import read

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

EXAMPLES = options.examples(
    ("a sampler on the data that comes along", "negsieve explain pdns"),
    ("what a graph model makes of it", "negsieve explain mixgcf:candidates=32 log.csv --model lightgcn"),
    ("with another loss", "negsieve explain shared --loss softmax:correct=log_q"),
    ("what the equal run's settings would be", "negsieve explain pdns --set train.lr=0.005 --set train.l2=0.0001"),
    ("for a script", "negsieve explain dns --json"),
)
Named = Annotated[
    str,
    typer.Argument(
        help="A sampler: dns:candidates=16, package.module:function. See: negsieve list samplers",
        metavar="SAMPLER",
        autocompletion=complete.samplers,
        show_default=False,
    ),
]


def explain(
    sampler: Named,
    data: options.Data = None,
    model: options.Model = None,
    loss: options.Loss = None,
    columns: options.Columns = None,
    format: options.DataFormat = None,
    split: options.Split = None,
    target: options.Target = None,
    source: options.Source = None,
    negatives: options.NegativesFile = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Say what a sampler is made of, what it costs, and what it equals.

    Costs are counted on one step of the data, in score evaluations. What it says to be equal is proven by a test.
    """
    from negsieve.cli import early
    from negsieve.config import resolve
    from negsieve.review import calls

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
            top={"sampler": sampler, "model": model, "loss": loss},
        )
        early.check(resolve(layers), typed=sampler)
        dataset = read(layers, quiet=True)
        with screen.busy("measuring", quiet=json):
            found = calls.explain(sampler, dataset, settings=layers)
    if json:
        screen.write_json(found)
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """The explanation for people, on stdout."""
    out = screen.console()
    out.print()
    out.print(screen.plain(f"{found['model']} · {found['sampler']} · {found['loss']}", "bold"))
    out.print()
    for line in tree_lines(found["composition"]):
        out.print(line, soft_wrap=True)
    out.print()
    out.print(screen.facts(_facts(found)))
    for title, style, entries in (("Equal to", "green", found["equal"]), ("Warnings", "yellow", found["warnings"])):
        if entries:
            out.print()
            out.print(screen.plain(title, f"bold {style}"))
        for one in entries:
            _say(out, one)
    out.print()


def tree_lines(part: dict[str, Any], depth: int = 0) -> Iterator:
    """A line a part, what it is made of below it and further in."""
    line = screen.plain("  " * depth + part["part"], "cyan")
    given = ", ".join(f"{name}={_value(value)}" for name, value in part["parameters"].items())
    yield line.append_text(screen.plain(f"  {given}" if given else "", "dim"))
    for one in part["parts"]:
        yield from tree_lines(one, depth + 1)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    cost, epoch, memory = found["cost"], found["epoch"], found["memory"]
    needs = [f"{one['need']} ({'served' if one['served'] else 'not served'})" for one in found["needs"]]
    told: list[tuple[str, Any]] = [("needs", ", ".join(dict.fromkeys(needs)) or "scores alone")]
    if found["refused"]:
        told.append(("refused", screen.plain(found["refused"], "red")))
    if cost:
        observing = f", {_count(cost['observing'])} to learn from the step" if cost["observing"] else ""
        shown = f"; {_count(cost['vectors'])} vectors looked up" if cost["vectors"] else ""
        told.append((
            "a positive costs",
            f"{_count(cost['without_gradient'])} scores without gradient + {_count(cost['with_gradient'])} with"
            f"{observing}{shown} (batch of {cost['batch']:,}, {cost['negatives']:,} negatives)",
        ))  # fmt: skip
    if epoch:
        several = epoch["first"] != epoch["later"]
        words = f"{epoch['first']:,} scores" + (f" before the first, {epoch['later']:,} later" if several else "")
        told.append(("an epoch costs", words if any(epoch.values()) else "no scores before it"))
    if engine := found["engine"]:
        told.append(("engine", engine["name"] if engine["why"] is None else f"{engine['name']}: {engine['why']}"))
    kinds = (("parameters", "trained"), ("memory", "learned"), ("index", "index of the data"), ("loss", "of the loss"))
    kept = [f"{_size(memory[kind])} {word}" for kind, word in kinds if memory[kind]]
    told.append(("memory", ", ".join(kept) or "none"))
    data = found["data"]
    told.append(("on", f"{data['name']}: {data['users']:,} users, {data['items']:,} items, {data['train']:,} in train"))
    return told


def _say(out: Console, one: dict[str, Any]) -> None:
    """A statement on the console; what one copies from it, options and the test, is never broken."""
    out.print(_hanging("·", screen.plain(one["says"])))
    if one["settings"]:
        out.print(screen.plain(f"  {as_options(one['settings'])}", "cyan"), soft_wrap=True)
    out.print(_hanging("", screen.plain(f"if: {one['when']}", "dim")))
    out.print(screen.plain(f"  proof: {one['proof']}", "dim"), soft_wrap=True)


def _hanging(mark: str, text: Text) -> Table:
    """Text two columns in, a mark before its first line."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row(mark, text)
    return grid


def as_options(settings: dict[str, Any]) -> str:
    """Settings as one would type them: ``--sampler dns --set train.lr=0.01``."""
    plain = ("sampler", "loss", "model")
    ordered = [name for name in plain if name in settings] + [name for name in settings if name not in plain]
    return " ".join(
        f"--{name} {settings[name]}" if name in plain else f"--set {name}={_value(settings[name])}" for name in ordered
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _size(many: int) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if many < 1000:
            return f"{many:.3g} {unit}"
        many /= 1000
    return f"{many:.3g} GB"
