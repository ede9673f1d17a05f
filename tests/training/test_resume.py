"""A run that is stopped at any step and resumed ends with the bytes of one that never stopped."""

import hashlib
import json

import pytest

from negsieve.config import resolve
from negsieve.errors import Interrupted
from negsieve.store.run import Run
from negsieve.training import session
from negsieve.training.watch import Silent

STEPS = 6  # 251 train rows at batch 48


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class KillAt(Silent):
    """Kills at a step, or at the end of the block of steps that holds it."""

    def __init__(self, epoch, step):
        self.at = (epoch, step)

    def step(self, epoch, step):
        if (epoch, step) >= self.at:
            raise Killed


def config(**train):
    fixed = {
        "epochs": 3,
        "batch_size": 48,
        "lr": 0.05,
        "seed": 7,
        "checkpoint_every": 2,
        "device": "cpu",
        "patience": 2,
    }
    return {"train": fixed | train, "evaluate": {"metrics": ["recall@5", "ndcg@20"]}}


def digest(run: Run) -> dict[str, str]:
    """Hashes of everything that must not depend on interruptions; seconds are set aside."""
    found = {}
    for folder in (run.best, max(run.checkpoints.iterdir())):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                found[str(file.relative_to(run.path))] = hashlib.sha256(file.read_bytes()).hexdigest()
    found["per_user"] = str(run.per_user().to_pydict())
    found["metrics"] = json.dumps([{k: v for k, v in record.items() if k != "seconds"} for record in run.metrics()])
    found["result"] = json.dumps({k: v for k, v in run.result().items() if k not in ("seconds", "run", "name")})
    return found


@pytest.mark.parametrize(
    ("model", "sampler"),
    [
        ("mf:dim=8", "uniform"),
        ("mf:dim=8", "dns_mn:m=2,n=6,mode=one"),
        ("lightgcn:dim=8,layers=2", "mixgcf:candidates=4"),
    ],
)
@pytest.mark.parametrize("optimiser", ["adam", "adagrad"])
def test_resume_after_a_kill_at_any_step_is_bit_identical(small, tmp_path, model, sampler, optimiser):
    settings = resolve(config(optimiser=optimiser), {"model": model, "sampler": sampler})
    session.start(settings, small, path=tmp_path / "whole")
    whole = digest(Run(tmp_path / "whole"))
    for epoch, step in [(0, 0), (0, 2), (1, STEPS - 1), (2, 1)]:
        path = tmp_path / f"cut-{epoch}-{step}"
        with pytest.raises(Killed):
            session.start(settings, small, path=path, watch=KillAt(epoch, step))
        session.resume(path)
        assert digest(Run(path)) == whole


def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(small, tmp_path):
    import os
    import signal

    class SignalAt(Silent):
        def step(self, epoch, step):
            if (epoch, step) == (1, 2):
                os.kill(os.getpid(), signal.SIGINT)

    settings = resolve(config(engine="torch"))  # which is asked after every step
    session.start(settings, small, path=tmp_path / "whole")
    with pytest.raises(Interrupted, match="--resume") as stopped:
        session.start(settings, small, path=tmp_path / "cut", watch=SignalAt())
    assert stopped.value.exit_code == 130
    assert Run(tmp_path / "cut").load_latest().state["standing"]["step"] == 3
    session.resume(tmp_path / "cut")
    assert digest(Run(tmp_path / "cut")) == digest(Run(tmp_path / "whole"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_metrics_have_no_repeated_and_no_missing_epoch(small, tmp_path):
    settings = resolve(config())
    with pytest.raises(Killed):
        session.start(settings, small, path=tmp_path / "run", watch=KillAt(2, 0))
    session.resume(tmp_path / "run")
    assert [record["epoch"] for record in Run(tmp_path / "run").metrics()] == [0, 1, 2]


def test_the_same_command_again_returns_the_finished_run(small, tmp_path):
    settings = resolve(config())
    first = session.start(settings, small, path=tmp_path / "run")
    assert session.start(settings, small, path=tmp_path / "run") == first
    assert session.resume(tmp_path / "run") == first


def test_a_damaged_checkpoint_falls_back_to_the_one_before(small, tmp_path):
    settings = resolve(config())
    session.start(settings, small, path=tmp_path / "whole")
    with pytest.raises(Killed):
        session.start(settings, small, path=tmp_path / "cut", watch=KillAt(1, 4))
    newest = max((tmp_path / "cut" / "checkpoints").iterdir())
    file = newest / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    session.resume(tmp_path / "cut")
    assert (newest.parent / f"{newest.name}.bad").exists()
    assert digest(Run(tmp_path / "cut"))["metrics"] == digest(Run(tmp_path / "whole"))["metrics"]


def test_a_signal_in_the_last_validation_is_heeded(small, tmp_path):
    import os
    import signal

    class SignalAtTheEnd(Silent):
        def epoch(self, record):
            if record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        session.start(resolve(config()), small, path=tmp_path / "run", watch=SignalAtTheEnd())
    assert stopped.value.exit_code == 143 and not Run(tmp_path / "run").finished
    session.resume(tmp_path / "run")
    session.start(resolve(config()), small, path=tmp_path / "whole")
    assert digest(Run(tmp_path / "run")) == digest(Run(tmp_path / "whole"))


def test_nothing_of_a_forgotten_future_survives_a_resume(small, tmp_path):
    """Killed before the first checkpoint, with epochs logged and a best model written."""
    settings = resolve(config(checkpoint_every=0, checkpoint_seconds=1e9))
    with pytest.raises(Killed):
        session.start(settings, small, path=tmp_path / "run", watch=KillAt(2, 1))
    run = Run(tmp_path / "run")
    assert run.load_latest() is None and len(run.metrics()) == 2
    run.save_best(10**6, {"model": run.load_best().groups["model"]}, {})
    session.resume(tmp_path / "run")
    assert [record["epoch"] for record in run.metrics()] == [0, 1, 2]
    assert run.load_best().step < 10**6


def test_a_damaged_best_model_is_named_and_left_alone(small, tmp_path):
    from negsieve.errors import CheckpointError
    from negsieve.trained import open_trained

    session.start(resolve(config()), small, path=tmp_path / "run")
    file = next((tmp_path / "run" / "best").rglob("model.safetensors"))
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    for use in (open_trained, session.resume):
        with pytest.raises(CheckpointError, match=r"best.step-\d+.model\.safetensors"):
            use(tmp_path / "run")
    assert file.exists()
