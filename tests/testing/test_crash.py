import os
import time

import pytest

from negsieve.testing.crash import every_crash, kill_at, points, run_child


def test_a_careless_writer_is_caught(tmp_path):
    """In place, as most code writes: some crash must leave a file that resuming takes for good."""

    def careless(path):
        target = path / "out"
        if not target.exists():
            fd = os.open(target, os.O_WRONLY | os.O_CREAT)
            os.write(fd, b"0123456789")
            os.close(fd)

    found = {
        (crash.point, crash.torn): (crash.folder / "out").read_bytes()
        for crash in every_crash(careless, folder=tmp_path)
    }
    assert found == {(0, False): b"", (0, True): b"01234"}


def test_points_are_counted_and_killed_in_order(tmp_path):
    def work():
        os.mkdir(tmp_path / "a")
        os.rename(tmp_path / "a", tmp_path / "b")
        os.rmdir(tmp_path / "b")

    assert points(work) == ["mkdir", "rename", "rmdir"]
    assert kill_at(work, 1) and os.listdir(tmp_path) == ["a"]
    os.rmdir(tmp_path / "a")
    assert kill_at(work, 1, torn=True) and os.listdir(tmp_path) == ["b"]
    os.rmdir(tmp_path / "b")
    assert not kill_at(work, 3)


def test_a_call_that_raises_is_a_point_like_any_other(tmp_path):
    def work():
        try:
            os.unlink(tmp_path / "none")
        except FileNotFoundError:
            os.mkdir(tmp_path / "after")

    assert kill_at(work, 0, torn=True) and os.listdir(tmp_path) == []


def test_many_calls_are_counted(tmp_path):
    def work():
        for number in range(20_000):
            os.write(fd, bytes([number % 256]))

    fd = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    assert len(points(work)) == 20_000
    os.close(fd)


def test_failures_and_hangs_are_reported(capfd):
    def fail():
        raise KeyError("planted")

    with pytest.raises(AssertionError, match="exit code 1"):
        run_child(fail)
    assert "planted" in capfd.readouterr().err
    with pytest.raises(AssertionError, match="before I/O call 0"):
        kill_at(fail, 0)
    with pytest.raises(AssertionError, match=r"within 0\.2 s"):
        run_child(lambda: time.sleep(20), timeout=0.2)
