"""What is told of a run and of a study while they go, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from negsieve.cli import watch_run, watch_study

RECORDS = [
    {"epoch": 0, "loss": 0.69, "false_negative_rate": 0.01, "valid": {"ndcg@20": 0.02}, "seconds": {"sample": 0.5}},
    {"epoch": 1, "loss": 0.5, "false_negative_rate": 0.0125, "seconds": {"sample": 0.5}},
    {"epoch": 2, "loss": 0.4, "false_negative_rate": None, "valid": {"ndcg@20": 0.01}, "seconds": {"sample": 0.25}},
]


def console(*, terminal: bool = False, width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, markup=False)


def told(where: Console) -> list[str]:
    return where.file.getvalue().splitlines()


def test_a_line_for_each_validated_epoch():
    where = console()
    lines = watch_run.RunLines(where, watch_run.Best("ndcg@20", "valid"))
    lines.begin("run", epochs=9, steps=4, epoch=0)
    for record in RECORDS:
        lines.epoch(record)
    assert told(where) == [
        "[1/9] epoch 0  loss 0.6900  false neg. 1.00 %  valid ndcg@20 0.0200  best yet  0.50 s",
        "[3/9] epoch 2  loss 0.4000  valid ndcg@20 0.0100  best 0.0200  0.25 s",
    ]


def test_a_run_that_goes_on_knows_its_best():
    best = watch_run.Best("ndcg@20", "valid", RECORDS[:2])
    assert (best.value, best.epoch) == (0.02, 0)
    assert best.words(RECORDS[2])[-1] == "best 0.0200"


@pytest.mark.parametrize("width", [80, 120])
def test_bars_fit_the_terminal(width):
    where = console(terminal=True, width=width)
    bars = watch_run.RunBars(where, watch_run.Best("ndcg@20", "valid"))
    where.print(bars.group)
    bars.begin("run", epochs=9, steps=400, epoch=0)
    bars.step(0, 123)
    bars.epoch(RECORDS[0])
    where.print(bars.group)
    seen = where.file.getvalue()
    assert "1/9" in seen and "124/400 steps" in seen
    assert "epoch 0  loss 0.6900  false neg. 1.00 %  valid ndcg@20 0.0200  best yet" in seen


def study_events(watch) -> None:
    watch.begin(runs=4, done=1)
    watch.event("mf/dns/bpr seed 1", "begin", {"epochs": 4, "epoch": 0})
    watch.event("mf/dns/bpr seed 1", "epoch", RECORDS[0] | {"epochs": 4})
    watch.event("[red]x[/red]/dns/bpr seed 1", "begin", {"epochs": 4, "epoch": 2})


def test_a_line_for_each_run_that_ends():
    where = console()
    lines = watch_study.StudyLines(where, "ndcg@20", "valid")
    study_events(lines)
    lines.event("mf/dns/bpr seed 1", "end", {"metrics": {"test": {"ndcg@20": 0.03}}, "seconds": 12.0})
    lines.event("[red]x[/red]/dns/bpr seed 1", "failed", {"why": "DataError: \x1b[2J"})
    assert told(where) == [
        "4 runs, 1 of them finished before",
        "[2/4] mf/dns/bpr seed 1  test ndcg@20 0.0300  12 s",
        "[3/4] [red]x[/red]/dns/bpr seed 1  missing: DataError: \\x1b[2J",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_study_bars_show_active_runs_and_what_failed(width):
    where = console(width=width)
    bars = watch_study.StudyBars(where, "ndcg@20", "valid")
    study_events(bars)
    where.print(bars.progress)
    seen = told(where)
    assert len(seen) == 3 and max(map(len, seen)) <= width
    assert seen[0].startswith("all runs") and "1/4 runs" in seen[0]
    assert seen[1].startswith("mf/dns/bpr seed 1") and "epoch 1/4  ndcg@20 0.0200" in seen[1]
    assert seen[2].startswith("[red]x[/red]/dns/bpr seed 1") and "starting" in seen[2]
    bars.event("mf/dns/bpr seed 1", "end", {"metrics": {}, "seconds": 1.0})
    bars.event("[red]x[/red]/dns/bpr seed 1", "failed", {"why": "lost"})
    bars.event("never begun", "failed", {"why": "lost, too"})
    assert "missing  [red]x[/red]/dns/bpr seed 1: lost" in told(where)
    assert [task.fields["count"] for task in bars.progress.tasks] == ["4/4 runs"]


def test_nobody_is_told_when_quiet_and_bars_are_for_terminals(monkeypatch):
    best = watch_run.Best("ndcg@20", "valid")
    with watch_run.told(best, quiet=True) as watch:
        assert watch is None
    with watch_run.told(best, quiet=False) as watch:
        assert isinstance(watch, watch_run.RunLines)
    monkeypatch.setattr("negsieve.cli.screen.console", lambda **_: console(terminal=True))
    with watch_run.told(best, quiet=False) as watch:
        assert isinstance(watch, watch_run.RunBars)
    with watch_study.told(metric="ndcg@20", part="valid", quiet=False) as watch:
        assert isinstance(watch, watch_study.StudyBars)
