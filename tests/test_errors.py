"""Errors say where, keep their exit codes, and survive the way back from another process."""

import multiprocessing.reduction
from io import BytesIO

import pytest

from negsieve import errors


def through_a_process(error):
    """What ``multiprocessing`` does to an exception that a worker raised."""
    data = multiprocessing.reduction.ForkingPickler.dumps(error)
    return multiprocessing.reduction.ForkingPickler.loads(BytesIO(data).getvalue())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("what"), 2),
        (errors.DataError("found x, wanted y", file="a.csv", row=3, column="time"), 65),
        (errors.MissingInput("no such"), 66),
        (errors.CheckpointError("truncated", file="m.safetensors"), 74),
        (errors.Locked("busy"), 75),
        (errors.ConfigError("no such setting"), 78),
        (errors.Interrupted("saved", signal_number=15), 143),
    ],
)
def test_codes_and_words_survive(error, code):
    again = through_a_process(error)
    assert type(again) is type(error) and str(again) == str(error)
    assert error.exit_code == again.exit_code == code
    assert isinstance(error, ValueError)


def test_the_place_comes_first():
    assert str(errors.DataError("found 'x', wanted a number", file="a.csv", row=7, column="time")) == (
        "a.csv:7:time: found 'x', wanted a number"
    )
    assert errors.nearest("unifrom", ["uniform", "dns"]) == " Did you mean 'uniform'?"
    assert errors.nearest("zzz", ["uniform", "dns"]) == ""
