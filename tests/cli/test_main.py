import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import negsieve

COMMANDS = (
    "train",
    "compare",
    "evaluate",
    "recommend",
    "similar",
    "export",
    "list",
    "explain",
    "check",
    "data",
    "data summary",
    "data list",
)


def shell(*words: str, **env: str) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "negsieve", *words], capture_output=True, text=True, env=os.environ | env, timeout=60
    )


def test_alone_it_says_what_it_is_and_where_to_begin(call):
    said = call()
    assert said.code == 0 and not said.err
    for words in (
        "hard but not false",
        "negsieve compare",
        "negsieve train log.csv",
        "negsieve recommend RUN",
        "--help",
    ):
        assert words in said.out
    for name in COMMANDS[:10]:
        assert f"\n  {name} " in said.out


def test_a_group_alone_shows_its_help(call):
    said = call("data")
    assert "summary" in said.out and "error" not in said.err


def test_version(call):
    assert call("--version").out == f"negsieve {negsieve.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_page_has_examples_that_name_the_command(command, call):
    said = call(*command.split(), "--help")
    assert said.code == 0
    assert "Examples" in said.out
    assert f"negsieve {command}" in said.out.partition("Examples")[2]


def commands_in(lines: list[str]) -> list[list[str]]:
    """The negsieve commands among lines, without variables before them and pipes behind."""
    bare = [re.split(r"[|;]", re.sub(r"^[A-Z_]+=\S+ ", "", line.strip()))[0] for line in lines]
    return [shlex.split(line)[1:] for line in bare if line.startswith("negsieve ")]


def test_every_command_in_the_docs_and_in_the_examples_is_one(call):
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")]
    for command in COMMANDS:
        lines += call(*command.split(), "--help").out.partition("Examples")[2].splitlines()
    found = commands_in(lines)
    assert len(found) > 40
    for words in found:
        said = call(*words, "--help")
        assert said.code == 0 or "--smapler" in words, words


def test_help_needs_neither_torch_nor_duckdb():
    code = (
        "import sys; from negsieve.cli.main import main; main(['train', '--help']); main([]);"
        "print([m for m in ('torch', 'duckdb', 'pyarrow', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_tables_are_asked_for_in_large_pages_unless_told_otherwise(call, monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    call()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    call()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


def test_as_a_module_with_exit_codes():
    done = shell("data", "summary", "nowhere.csv")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr.startswith("error: no data set or file 'nowhere.csv'")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("trian",), "Did you mean 'train'?"),
        (("data", "sumary"), "Did you mean 'summary'?"),
        (("train", "--smapler", "dns"), "Did you mean '--sampler'?"),
        (("recommend", "x", "--usr", "1"), "Did you mean '--user'?"),
    ],
)
def test_slips_of_the_pen_get_the_nearest_name(words, near, call):
    said = call(*words)
    assert said.code == 2 and not said.out
    assert near in said.err and "--help" in said.err


@pytest.mark.parametrize("words", ["recommend {run} --format csv", "recommend {run}", "train --help", ""])
def test_a_reader_that_goes_away_is_no_error(words, run):
    command = f"{sys.executable} -m negsieve {words.format(run=run)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 141
    assert "rror" not in done.stderr


def test_output_that_the_terminal_cannot_encode_is_spelled_out():
    done = shell(PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stderr == ""
