"""A log of a few hundred rows, a run trained on it, and the command called as the shell calls it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from negsieve.cli.main import main
from negsieve.rng import derive

FAST = ("--epochs", "2", "--set", "train.threads=1", "--model", "mf:dim=8")
TITLES = ("Plain", "[red]x[/red]", "\x1b[31mred\x1b[0m", "=1+1", "tail\u202egnp.exe")


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        assert self.out.count("\n") == 1, "one line, and nothing else on stdout"
        return json.loads(self.out)


@pytest.fixture
def call(capfd, monkeypatch):
    """``call("train", "log.csv")`` runs the command in this process and returns what it said."""
    monkeypatch.delenv("NEGSIEVE_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        told = capfd.readouterr()
        assert "Traceback" not in told.out + told.err
        return Said(code, told.out, told.err)

    return run


def write_log(path: Path, *, users: int = 30, items: int = 40) -> Path:
    """Users who like the items of their own half, a user that train lacks, and titles that bite."""
    rng = np.random.default_rng(derive("cli log"))
    lines = ["user_id,item_id,split"]
    for user in range(users):
        liked = np.flatnonzero(rng.random(items) < 0.05 + 0.4 * (np.arange(items) % 2 == user % 2))
        parts = ["train", *rng.choice(["train", "train", "train", "valid", "test"], size=len(liked) - 1)]
        lines += [f"u{user},i{item},{part}" for item, part in zip(liked, parts, strict=True)]
    lines += ["newcomer,i1,test", "newcomer,i3,test"]
    path.mkdir()
    (path / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = "".join(json.dumps({"item_id": f"i{at}", "title": TITLES[at % len(TITLES)]}) + "\n" for at in range(items))
    (path / "items.jsonl").write_text(rows, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    """A folder with a log and titles."""
    return write_log(tmp_path_factory.mktemp("cli") / "shop")


@pytest.fixture(scope="session")
def run(log, tmp_path_factory) -> Path:
    """A finished run on that log."""
    path = tmp_path_factory.mktemp("cli-run") / "first"
    assert main(["train", str(log), *FAST, "--out", str(path), "--quiet"]) == 0
    return path
