"""MF by kernels and by autograd: one meaning, the same numbers, the same bits after any stop."""

import os
import signal

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.batches import batches
from negsieve.data.dataset import Dataset
from negsieve.errors import CapabilityError, ConfigError, Interrupted, NonFiniteLoss
from negsieve.kernels import native
from negsieve.losses import pairwise
from negsieve.rng import streams
from negsieve.store.run import Run
from negsieve.training import build, session
from negsieve.training.engines import choose
from negsieve.training.step import forward
from negsieve.training.watch import Silent
from negsieve.types import Batch

pytestmark = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def settings(engine, **layers):
    train = {
        "epochs": 2,
        "batch_size": 48,
        "lr": 0.02,
        "l2": 1e-3,
        "device": "cpu",
        "engine": engine,
        "checkpoint_seconds": 0,
    }
    train |= layers.pop("train", {})
    layers = {"model": "mf:dim=12", "evaluate": {"metrics": ["ndcg@20"]}} | layers
    return resolve({"train": train}, layers)


def both(dataset, folder, **layers):
    """What a run of each engine left: (result, records, tables)."""
    found = []
    for engine in ("torch", "compiled"):
        result = session.start(settings(engine, **layers), dataset, path=folder / engine)
        run = Run(folder / engine)
        found.append((result, run.metrics(), run.load_latest().groups["model"]))
    return found


def assert_tables(one, two):
    """Two models agree up to rounding."""
    assert one.keys() == two.keys()
    for name, table in one.items():
        assert float((table - two[name]).norm() / table.norm()) < 1e-5, name


def assert_same(one, two):
    """Records and tables agree up to rounding."""
    for a, b in zip(one[1], two[1], strict=True):
        for name in ("loss", "penalty", "dead_rows", "coverage", "popularity", "false_negative_rate", "hardness"):
            assert a[name] == pytest.approx(b[name], rel=1e-5, abs=1e-7), name
        assert a["valid"] == pytest.approx(b["valid"], abs=1e-9)
    assert_tables(one[2], two[2])


@pytest.mark.parametrize(
    ("optimiser", "loss"),
    [
        ("sgd", "bpr"),
        ("adam", "bpr"),
        ("adam", "soft_bpr:beta=0.5"),
        ("adam", "bce"),
        ("adam", "hinge"),
        ("adam", "softmax:temperature=0.5"),
        ("adagrad", "bce"),
        ("sparse_adam", "hinge"),
        ("rowwise_adagrad", "softmax"),
        ("sgd", "k_pair"),
    ],
)
def test_every_optimiser_and_loss_gives_the_numbers_of_autograd(small, tmp_path, optimiser, loss):
    rate = {"sgd": 0.5, "adagrad": 0.05}.get(optimiser, 0.02)
    torch_run, compiled = both(
        small, tmp_path, loss=loss, sampler="dns:candidates=4", train={"optimiser": optimiser, "lr": rate}
    )
    assert compiled[0]["engine"] == "compiled mf" and torch_run[0]["engine"] == "torch"
    assert_same(torch_run, compiled)


@pytest.mark.parametrize("optimiser", ["adam", "sparse_adam"])
def test_with_other_betas(small, tmp_path, optimiser):
    train = {"optimiser": optimiser, "lr": 0.02}
    other = both(small, tmp_path / "other", train=train | {"betas": [0.7, 0.9]})
    assert_same(*other)
    usual = session.start(settings("torch", train=train), small, path=tmp_path / "usual")
    assert usual["metrics"] != other[0][0]["metrics"]


@pytest.mark.parametrize(
    "sampler",
    [
        "uniform:n_negatives=3",
        "popularity",
        "dns:candidates=6,n_negatives=2",
        "dns_mn:m=3,n=8",
        "dns_mn:m=3,n=8,mode=sum",
        "dns_mn:m=3,n=8,mode=one",
        "uniform:exclude=none",
        "softmax_v:n=6",
        "warp:tries=8",
        "srns",
        "adasir",
        "nscaching",
        "gdns",
        "irgan",
    ],
)
def test_samplers_of_every_kind_draw_what_they_draw_beside_autograd(small, tmp_path, sampler):
    assert_same(*both(small, tmp_path, sampler=sampler))


@pytest.mark.parametrize(
    "train",
    [
        {"drop_last": True},
        {"l2": 0.0},
        {"lr": "step:0.05:0.3:1", "epochs": 3},
        {"batch_size": 7},
        {"batch_size": 1000},
        {"validate_every": 2, "epochs": 3},
    ],
)
@pytest.mark.parametrize("sampler", ["dns:candidates=4", "softmax_v:n=3"])
def test_settings_mean_the_same(small, tmp_path, train, sampler):
    one, two = settings("torch", sampler=sampler, train=train), settings("compiled", sampler=sampler, train=train)
    for engine, config in (("torch", one), ("compiled", two)):
        session.start(config, small, path=tmp_path / engine)
    assert_tables(*(Run(tmp_path / engine).load_latest().groups["model"] for engine in ("torch", "compiled")))


def test_schedules_of_losses_reach_the_compiled_steps(small, tmp_path):
    assert_same(*both(small, tmp_path, loss="soft_bpr:beta=linear:1:0.1:2", sampler="uniform", train={"epochs": 3}))


def test_users_who_have_seen_everything_get_no_negative(small, tmp_path):
    log = small.interactions
    user = np.concatenate([log.user[log.user != 3], np.full(small.n_items, 3)])
    item = np.concatenate([log.item[log.user != 3], np.arange(small.n_items)])
    part = np.concatenate([small.part[log.user != 3], np.zeros(small.n_items, np.int8)])
    full = Dataset("full", type(log)(user=user, item=item, users=log.users, items=log.items), part)
    for sampler in ("uniform:n_negatives=2", "dns:candidates=4", "popularity"):
        folder = tmp_path / sampler[:3]
        assert_same(*both(full, folder, sampler=sampler, train={"full_users": "skip"}))


def test_an_oracle_run_is_the_same_and_stamped(small, tmp_path):
    runs = both(small, tmp_path, sampler="dns:candidates=4", oracle=["valid"])
    assert_same(*runs)
    assert runs[1][0]["stamps"] == ["oracle: the sampler knew valid"]


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class KillFrom(Silent):
    def __init__(self, epoch, step):
        self.at = (epoch, step)

    def step(self, epoch, step):
        if (epoch, step) >= self.at:
            raise Killed


def left_behind(path):
    run = Run(path)
    newest = run.load_latest()
    timed = ("seconds", "run", "name")
    records = [{name: one[name] for name in one if name not in timed} for one in run.metrics()]
    result = {name: value for name, value in run.result().items() if name not in timed}
    groups = {f"{group}.{name}": one for group, held in newest.groups.items() for name, one in held.items()}
    return records, result, newest.state, groups


@pytest.mark.parametrize(
    ("sampler", "optimiser"),
    [
        ("dns:candidates=4", "adam"),
        ("srns", "adam"),
        ("popularity", "adagrad"),
        ("uniform", "sgd"),
        ("dns:candidates=4", "online_sgd"),
        ("srns", "online_sgd"),
        ("dns:candidates=4", "sparse_adam"),
        ("dns:candidates=4", "rowwise_adagrad"),
    ],
)
def test_a_resume_ends_with_the_bits_of_a_run_that_never_stopped(small, tmp_path, sampler, optimiser):
    train = {"optimiser": optimiser, "epochs": 3, "batch_size": 24, "checkpoint_every": 3, "lr": "step:0.02:0.5:1"}
    config = settings("compiled", sampler=sampler, train=train)
    session.start(config, small, path=tmp_path / "whole")
    wanted = left_behind(tmp_path / "whole")
    for epoch, step in [(0, 2), (1, 0), (1, 5), (2, 8)]:
        path = tmp_path / f"cut-{epoch}-{step}"
        with pytest.raises(Killed):
            session.start(config, small, path=path, watch=KillFrom(epoch, step))
        assert session.resume(path)["engine"] == "compiled mf"
        found = left_behind(path)
        assert found[:3] == wanted[:3]
        assert all(torch.equal(found[3][name], wanted[3][name]) for name in wanted[3])


def test_saving_often_changes_no_bit(small, tmp_path):
    for name, every in (("never", 0), ("often", 8)):
        config = settings("compiled", sampler="dns:candidates=4", train={"checkpoint_every": every, "batch_size": 8})
        session.start(config, small, path=tmp_path / name)
    never, often = (left_behind(tmp_path / name) for name in ("never", "often"))
    assert all(torch.equal(never[3][name], often[3][name]) for name in never[3])


@pytest.mark.parametrize("optimiser", ["sgd", "online_sgd"])
@pytest.mark.parametrize("sampler", ["uniform", "softmax_v:n=3"])
def test_a_loss_that_is_not_finite_is_named_and_nothing_of_its_step_is_kept(small, tmp_path, sampler, optimiser):
    config = settings("compiled", sampler=sampler, train={"lr": 1e30, "optimiser": optimiser, "epochs": 3})
    named = r"at epoch \d+, step \d+, sampler \w+.*: the first bad tensor is the (score|parameter|penalty)"
    with pytest.raises(NonFiniteLoss, match=named):
        session.start(config, small, path=tmp_path / "run")
    newest = Run(tmp_path / "run").load_latest()
    assert newest is None or all(torch.isfinite(value).all() for value in newest.groups["model"].values())


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"model": "mf:similarity=cosine"}, "plain dot product"),
        ({"model": "mf:temperature=0.5"}, "plain dot product"),
        ({"loss": "hard_bpr"}, "softmax without a correction"),
        ({"train": {"optimiser": "adamw"}}, "have no adamw, but sgd, online_sgd"),
        ({"train": {"weight_decay": 0.1}}, "weight_decay=0"),
        ({"train": {"precision": "bf16"}}, "single precision"),
        ({"sampler": "in_batch", "loss": "bpr"}, "shared by the batch"),
        ({"sampler": "dens"}, "has parameters"),
        ({"sampler": "dins:candidates=2"}, "MixDimensions makes vectors"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason_and_trained_by_torch_otherwise(small, tmp_path, layers, why):
    with pytest.raises(CapabilityError, match=f"(?s)cannot do this run: .*{why}"):
        session.start(settings("compiled", **layers), small, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = settings("auto", **layers)
    choice = choose(build.tried(config, small), config.train, torch.device("cpu"))
    assert choice.name == "torch" and why in choice.why


def test_the_optimiser_of_another_engine_is_refused(small, tmp_path):
    session.start(settings("torch"), small, path=tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    file = tmp_path / "run" / "env.json"
    file.write_text(file.read_text().replace('"engine": "torch"', '"engine": "compiled mf"'))
    with pytest.raises(ConfigError, match="it is another optimiser's"):
        session.resume(tmp_path / "run")


@pytest.mark.parametrize(
    "sampler", ["uniform:n_negatives=2", "popularity", "dns:candidates=6", "dns_mn:m=3,n=8,mode=sum"]
)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_steps_in_blocks_have_the_bits_of_single_ones(small, tmp_path, monkeypatch, sampler, optimiser):
    config = settings("compiled", sampler=sampler, train={"batch_size": 6, "optimiser": optimiser})
    session.start(config, small, path=tmp_path / "blocks")
    monkeypatch.setattr("negsieve.training.compiled_mf.draws_of", lambda sampler: None)
    session.start(config, small, path=tmp_path / "single")
    one, two = (left_behind(tmp_path / name) for name in ("blocks", "single"))
    assert all(torch.equal(one[3][name], two[3][name]) for name in one[3] if not name.startswith("meter."))
    for a, b in zip(one[0], two[0], strict=True):
        for name in ("loss", "penalty", "dead_rows", "coverage", "popularity", "false_negative_rate", "hardness"):
            assert a[name] == pytest.approx(b[name], rel=1e-12), name


def test_blocks_end_at_saves_and_are_short():
    from negsieve.training.compiled_mf import _alike, _block
    from negsieve.training.drawing import Draws

    class Source:
        n_negatives = 16

    config = settings("compiled", train={"batch_size": 2048}).train
    assert 0 < _block(config, Draws(Source(), 1), 64, 8) <= 40
    assert _block(config, None, 64, 8) == 1
    rows = [torch.zeros(4)] * 9 + [torch.zeros(2)]
    assert [(first, len(run)) for first, run in _alike(5, rows, 8)] == [(5, 3), (8, 6), (14, 1)]


def test_without_kernels_a_run_goes_on_by_their_twins(small, tmp_path, monkeypatch):
    config = settings("compiled", sampler="dns:candidates=4", train={"epochs": 3, "checkpoint_every": 3})
    session.start(config, small, path=tmp_path / "whole")
    with pytest.raises(Killed):
        session.start(config, small, path=tmp_path / "cut", watch=KillFrom(1, 4))
    monkeypatch.setattr(native, "module", lambda: None)
    result = session.resume(tmp_path / "cut")
    assert (result["engine"], result["kernels"]) == ("compiled mf", "none")
    assert "kernels: " in (tmp_path / "cut" / "log.txt").read_text()
    whole, cut = (left_behind(tmp_path / name)[3] for name in ("whole", "cut"))
    for name in ("model.user", "model.item"):
        assert float((whole[name] - cut[name]).norm() / whole[name].norm()) < 1e-5


def test_a_signal_between_blocks_saves_and_goes_on_alike(small, tmp_path):
    class SignalAt(Silent):
        told = False

        def step(self, epoch, step):
            if (epoch, step) >= (1, 2) and not self.told:
                self.told = True
                os.kill(os.getpid(), signal.SIGINT)

    config = settings("compiled", sampler="dns:candidates=4", train={"batch_size": 8, "checkpoint_every": 7})
    session.start(config, small, path=tmp_path / "whole")
    with pytest.raises(Interrupted, match="--resume"):
        session.start(config, small, path=tmp_path / "cut", watch=SignalAt())
    session.resume(tmp_path / "cut")
    whole, cut = (left_behind(tmp_path / name) for name in ("whole", "cut"))
    assert whole[:3] == cut[:3] and all(torch.equal(whole[3][name], cut[3][name]) for name in whole[3])


def test_threads_are_those_asked_for_or_granted(monkeypatch):
    before = torch.get_num_threads()
    try:
        session.use_threads(3)
        assert torch.get_num_threads() == native.threads() == 3
        monkeypatch.setattr(session, "usable_cores", lambda: 2)
        session.use_threads(0)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        session.use_threads(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("sampler", ["uniform:n_negatives=2", "dns:candidates=4"])
def test_online_sgd_is_plain_sgd_on_every_row_in_turn(small, tmp_path, sampler):
    config = settings("auto", sampler=sampler, loss="bpr", train={"optimiser": "online_sgd", "epochs": 1, "lr": 0.1})
    result = session.start(config, small, path=tmp_path / "run")
    assert result["engine"] == "compiled mf"
    found = Run(tmp_path / "run").load_latest().groups["model"]
    model, drawing = build.make_model(config, small), build.make_sampler(sampler, small, dim=12)
    step_of_one = torch.optim.SGD(model.parameters(), lr=0.1)
    user, item = small.pairs("train")
    for step, rows in batches(len(user), size=48, seed=config.train.seed, epoch=0):
        for row in rows.split(1):
            rng = streams("negatives", 0, step, seed=config.train.seed)
            outcome = forward(model, drawing, pairwise.bpr, Batch(user[row], item[row], row), rng)
            step_of_one.zero_grad()
            outcome.total(l2=1e-3).backward()
            step_of_one.step()
    assert_tables({name: one.detach() for name, one in model.named_parameters()}, found)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"model": "lightgcn"}, "every row of a graph model is touched"),
        ({"train": {"engine": "torch"}}, "engine=torch asks for it"),
        ({"loss": "hard_bpr"}, "softmax without a correction"),
    ],
)
def test_online_sgd_is_refused_where_no_kernel_does_it(small, tmp_path, layers, why):
    train = {"optimiser": "online_sgd"} | layers.pop("train", {})
    with pytest.raises(CapabilityError, match=f"done by the compiled steps of mf alone.*{why}.*sgd, which"):
        session.start(settings("auto", train=train, **layers), small, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
