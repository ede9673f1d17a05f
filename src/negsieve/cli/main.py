"""The ``negsieve`` command: what exists, and what happens when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from negsieve.cli import check, compare, data, doctor, evaluate, explain, failure, lists, names, train, welcome


def make_app() -> typer.Typer:
    """The command line, every command with its own help page."""
    app = typer.Typer(
        name="negsieve",
        help="Train recommenders on negatives that are hard but not false.",
        epilog=welcome.EXAMPLES,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(invoke_without_command=True)(welcome.start)
    app.command("train", epilog=train.EXAMPLES)(train.train)
    app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
    app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
    app.command("recommend", epilog=lists.RECOMMEND_EXAMPLES)(lists.recommend)
    app.command("similar", epilog=lists.SIMILAR_EXAMPLES)(lists.similar)
    app.command("export", epilog=lists.EXPORT_EXAMPLES)(lists.export)
    app.command("list", epilog=names.EXAMPLES)(names.show)
    app.command("explain", epilog=explain.EXAMPLES)(explain.explain)
    app.command("check", epilog=check.EXAMPLES)(check.check)
    app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
    inner = typer.Typer(help="Look at data before training on them.", no_args_is_help=True, rich_markup_mode="rich")
    inner.command("summary", epilog=data.SUMMARY_EXAMPLES)(data.summary)
    inner.command("list", epilog=data.LIST_EXAMPLES)(data.known)
    app.add_typer(inner, name="data", epilog=data.EXAMPLES)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Never raises, but for ``SystemExit`` of help pages."""
    # torch reads this once, when it is imported: tables in large pages, whose random rows are found sooner
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        command = typer.main.get_command(make_app())
        code = command.main(args=arguments, prog_name="negsieve", standalone_mode=False)
        sys.stdout.flush()
        if code == failure.INTERRUPTED:
            failure.say("interrupted", "", style="yellow")
        return code if isinstance(code, int) else 0
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            return failure.quiet_pipe()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as problem:
        return failure.explain(problem)
