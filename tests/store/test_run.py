import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from negsieve.errors import CannotCreate, DataError, Locked, MissingInput, UsageError
from negsieve.store.environment import differences, environment
from negsieve.store.run import Run, check_name, inside

CONFIG = {"model": "mf", "lr": 1e-05, "seed": 3, "odd": "no: 1", "ids": ["007", "é😀"], "none": None}


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", config=CONFIG, data={"name": "shop", "hash": "ab"})


def test_a_new_run_says_what_it_is(run):
    assert sorted(os.listdir(run.path)) == ["config.yaml", "data.json", "env.json"]
    again = Run.open(run.path)
    assert again.config() == CONFIG and again.data() == {"name": "shop", "hash": "ab"}
    assert {"python", "torch", "numpy", "negsieve", "platform", "cpu", "threads", "device"} <= again.env().keys()
    assert again.metrics() == [] and again.result() is None and not again.finished


def test_creating_it_again_gives_the_same_run_and_another_config_is_refused(run):
    run.append_metrics({"epoch": 0})
    assert Run.create(run.path, config=CONFIG).metrics() == [{"epoch": 0}]
    with pytest.raises(CannotCreate, match="another configuration"):
        Run.create(run.path, config={**CONFIG, "seed": 4})


def test_a_config_of_tuples_and_numpy_numbers_is_the_same_when_made_again(tmp_path):
    config = {"betas": (0.9, 0.999), "k": np.int64(3), "lr": np.float64(1e-5)}
    Run.create(tmp_path / "run", config=config)
    assert Run.create(tmp_path / "run", config=config).config() == {"betas": [0.9, 0.999], "k": 3, "lr": 1e-5}


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CannotCreate, match=r"thesis\.tex"):
        Run.create(tmp_path, config=CONFIG)
    with pytest.raises(CannotCreate, match="is a file"):
        Run.create(tmp_path / "thesis.tex", config=CONFIG)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_creation_that_was_killed_can_be_done_again(tmp_path):
    (tmp_path / "env.json").write_text("{")
    (tmp_path / "lock").write_text("")
    (tmp_path / ".config.yaml.1.tmp").write_text("mod")
    assert Run.create(tmp_path, config=CONFIG).env()["torch"] == str(torch.__version__)


def test_open_says_what_was_looked_for(tmp_path):
    with pytest.raises(MissingInput, match=r"looked for a run directory.*no such folder"):
        Run.open(tmp_path / "none")
    with pytest.raises(MissingInput, match="no such file"):
        Run.open(tmp_path)


def test_metrics_are_cut_back_to_the_epoch_that_a_resume_starts_from(run):
    for epoch in range(5):
        run.append_metrics({"epoch": epoch, "loss": float("nan") if epoch == 1 else 0.5})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 5, "lo')
    run.truncate_metrics(2)
    assert run.metrics() == [{"epoch": 0, "loss": 0.5}, {"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5}]
    run.truncate_metrics(-1)
    assert run.metrics() == []


def test_finishing(run):
    run.finish({"seed": 3, "metrics": {"test": {"recall@20": float("nan")}}})
    assert run.finished
    assert run.result() == {"seed": 3, "metrics": {"test": {"recall@20": None}}, "run": str(run.path)}


def test_log_lines_cannot_forge_others(run):
    run.log("one\nerror: two \x1b[31mred")
    run.log("three é")
    first, second = (run.path / "log.txt").read_text().splitlines()
    assert first.endswith("one\\nerror: two \\x1b[31mred") and second.endswith(" three é")


def test_checkpoints_and_the_best(run):
    assert run.load_latest() is None
    with pytest.raises(MissingInput, match="looked for the best model"):
        run.load_best()
    for step in (1, 2, 3):
        run.save(step, {"model": {"w": torch.tensor([float(step)])}}, {"epoch": step})
        run.save_best(step, {"model": {"w": torch.tensor([float(-step)])}}, {})
    assert sorted(os.listdir(run.checkpoints)) == ["step-000000002", "step-000000003"]
    assert os.listdir(run.best) == ["step-000000003"]
    assert run.load_best().groups["model"]["w"] == -3
    (run.checkpoints / "step-000000003" / "manifest.json").write_text("{}")
    assert run.load_latest().step == 2
    assert "Checkpoint of step 3 is bad" in (run.path / "log.txt").read_text()


def test_per_user_table_is_checked(run):
    run.write_per_user({"user": ["007", "é"], "ndcg@20": [0.5, 0.25]})
    assert run.per_user().to_pydict() == {"user": ["007", "é"], "ndcg@20": [0.5, 0.25]}
    path = run.path / "per_user.parquet"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match="truncated or altered"):
        run.per_user()
    bad = bytearray(good)
    bad[30] ^= 4  # inside the first page
    path.write_bytes(bad)
    with pytest.raises(DataError, match="truncated or altered"):
        run.per_user()
    path.unlink()
    with pytest.raises(MissingInput):
        run.per_user()


@pytest.mark.parametrize("name", ["a", "mf-dns_mn.seed-3", "A" * 64, "0"])
def test_good_names(name, tmp_path):
    assert check_name(name) == name
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "a/b", "../a", "..%2f", "a\0", "a" * 65, "a\n", "é", "a b", 3, None]
)
def test_bad_names(name):
    with pytest.raises(UsageError, match="wanted 1 to 64"):
        check_name(name)


@given(st.text(max_size=70))
def test_a_checked_name_stays_inside_its_folder(name):
    try:
        check_name(name)
    except UsageError:
        return
    assert os.path.normpath(os.path.join("/root", name)) == f"/root/{name}"


def test_a_link_out_of_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "run").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="outside"):
        inside(tmp_path / "root", "run")


HOLD = """
import os, sys, time
from negsieve.store.lock import locked
from negsieve.errors import Locked
try:
    with locked(sys.argv[1]):
        if sys.argv[2] == "fork" and os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        print("held", os.getpid(), flush=True)
        time.sleep(float(sys.argv[3])) if sys.argv[3] else sys.stdin.read()
except Locked as problem:
    print(problem, flush=True)
    sys.exit(problem.exit_code)
"""


def hold(path, kind="plain", seconds="20"):
    command = [sys.executable, "-c", HOLD, path, kind, seconds]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["plain", "fork"])
def test_a_second_holder_is_told_and_a_killed_one_frees_it(run, kind):
    first = hold(run.path / "lock", kind)
    pid = int(first.stdout.readline().split()[1])
    with pytest.raises(Locked, match=rf"pid {pid} on \S+ since \d{{4}}-") as caught, run.lock():
        pass
    assert caught.value.exit_code == 75
    os.kill(pid, signal.SIGKILL)
    first.wait()
    first.stdout.close()
    first.stdin.close()
    deadline = time.monotonic() + 10
    while True:  # an orphan forked a moment ago may not have closed its copy yet
        try:
            with run.lock():
                break
        except Locked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with run.lock(), pytest.raises(Locked, match=f"pid {os.getpid()} "), run.lock():
        pass
    with run.lock():
        pass


def test_of_many_starts_one_wins(run):
    many = [hold(run.path / "lock", seconds="") for _ in range(8)]
    deadline = time.monotonic() + 60
    while sum(one.poll() is None for one in many) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    codes = []
    for one in many:
        said = one.communicate()[0]  # closes its input, at which the winner ends
        codes.append(one.returncode)
        assert said.startswith("held") if one.returncode == 0 else "another process writes here" in said
    assert sorted(codes) == [0] + [75] * 7


def test_environment_differences_are_named():
    env = environment()
    assert differences(env, env) == []
    assert differences({"torch": "2.6", "a": 1}, {"torch": "2.7", "a": 1, "b": 2}) == [
        "b: None, now 2",
        "torch: 2.6, now 2.7",
    ]
