"""What the user sees when something goes wrong, and the exit code that says it to a script.

0 fine, 2 usage, 65 data, 66 missing input, 70 a defect or a missing run, 73 cannot create, 74 reading or
writing failed, 75 locked, 78 configuration, 128 + n stopped by signal n.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from negsieve.cli import screen
from negsieve.errors import Interrupted, NegsieveError, nearest

USAGE, MISSING, DEFECT, STORAGE, INTERRUPTED, PIPE = 2, 66, 70, 74, 130, 141


def explain(problem: BaseException) -> int:
    """Says on stderr what happened, without a traceback, and returns the exit code."""
    if isinstance(problem, BrokenPipeError):
        return quiet_pipe()
    if os.environ.get("NEGSIEVE_DEBUG") == "1":
        traceback.print_exception(problem)
    if isinstance(problem, Interrupted):
        say(str(problem), "", style="yellow")
        return problem.exit_code
    if isinstance(problem, NegsieveError):
        say("error:", str(problem))
        return problem.exit_code
    if isinstance(problem, KeyboardInterrupt):
        say("interrupted", "", style="yellow")
        return INTERRUPTED
    if hasattr(problem, "format_message"):
        return _usage(problem)
    if isinstance(problem, OSError):
        return _system(problem)
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        say("error:", f"out of memory ({problem}). Lower train.batch_size, evaluate.chunk or the model's dim".strip())
        return DEFECT
    return _defect(problem)


def quiet_pipe() -> int:
    """The reader went away, as ``head`` does: no words, and nothing more to flush at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):
            pass  # a stream that is no file
    return PIPE


def say(head: str, text: str, *, style: str = "bold red") -> None:
    """A line on stderr, its head coloured; long messages are not broken, so that paths can be copied."""
    line = screen.plain(head, style)
    if text:
        line.append_text(screen.plain(f" {text}", keep="\n"))
    screen.console(stderr=True).print(line, soft_wrap=True)


def note(text: str, *, wrap: bool = False) -> None:
    """A dimmed remark on stderr; one that holds a path or a command is not broken, so that it can be copied."""
    screen.console(stderr=True).print(screen.plain(text, "dim", keep="\n"), soft_wrap=not wrap)


def _usage(problem) -> int:
    """An option, argument or command that the parser refused."""
    text = problem.format_message().rstrip()
    if type(problem).__name__ == "NoArgsIsHelpError":  # its help page is on stdout already
        return USAGE
    context = getattr(problem, "ctx", None)
    if getattr(problem, "possibilities", None):
        text = f"{problem.message.rstrip('.')}.{nearest(problem.option_name, problem.possibilities)}"
    elif "No such command" in text and "Did you mean" not in text and context is not None:
        word = text.partition("'")[2].partition("'")[0]
        text = f"{text.rstrip('.')}.{nearest(word, context.command.commands)}"
    say("error:", text)
    if context is not None:
        note(f"Help: {context.command_path} --help")
    return getattr(problem, "exit_code", USAGE)


def _system(problem: OSError) -> int:
    """The machine refused: a file that is not there or not allowed, a full disk."""
    where = f"{problem.filename}: " if problem.filename else ""
    say("error:", f"{where}{problem.strerror or problem}")
    return MISSING if isinstance(problem, FileNotFoundError) else STORAGE


def _defect(problem: BaseException) -> int:
    """A bug: the traceback goes to a file, the user gets a line and the file's path."""
    say("error:", f"{type(problem).__name__}: {problem}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="negsieve-traceback-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write("".join(traceback.format_exception(problem)))
        where = f"The traceback is in {file.name}"
    except OSError:
        where = "Run it again with NEGSIEVE_DEBUG=1 to see the traceback"
    note(f"This is a defect in negsieve, please report it. {where}")
    return DEFECT
