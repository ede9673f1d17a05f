"""LightGCN without autograd: the same curve and parameters as with it, the same bits whatever interrupts it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from negsieve.config import resolve
from negsieve.data.batches import batches
from negsieve.data.dataset import Dataset
from negsieve.errors import CapabilityError, NonFiniteLoss
from negsieve.lab.meter import Meter
from negsieve.rng import streams
from negsieve.samplers.base import Sampler
from negsieve.store.run import Run
from negsieve.trained import open_trained
from negsieve.training import build, session
from negsieve.training.compiled_graph import CompiledLightGCN, why_not
from negsieve.training.engine import TorchEngine
from negsieve.training.engines import choose
from negsieve.training.watch import Stopwatch
from negsieve.types import Negatives

LOSSES = ("bpr", "soft_bpr:beta=0.2", "bce", "hinge:margin=0.5", "softmax:temperature=0.5", "gbce", "k_pair")
SAMPLERS = ("uniform:n_negatives=3", "dns:candidates=8", "dns_mn:m=3,n=8", "popularity", "alias:n_negatives=4")


def settings(sampler="uniform", loss="bpr", model="lightgcn:dim=16,layers=3", **train):
    common = {"batch_size": 64, "lr": 1e-3, "l2": 1e-2, "device": "cpu", "epochs": 3}
    return resolve({"model": model, "sampler": sampler, "loss": loss, "train": common | train})


def engine_of(kind, dataset, config, *, wrap=lambda sampler: sampler):
    model = build.make_model(config, dataset)
    sampler = wrap(build.make_sampler(config.sampler, dataset, dim=model.dim))
    user, item = dataset.pairs("train")
    return kind(
        model,
        sampler,
        build.make_loss(config.loss, dataset),
        user=user,
        item=item,
        meter=Meter(dataset.train, dataset.seen("valid", "test")),
        config=config.train,
        beside=nn.ModuleDict(),
        sampler_name=config.sampler,
    )


def run_epoch(engine, *, epoch=0):
    """One epoch; what the meter saw of it."""
    engine.meter.reset()
    engine.sampler.begin(epoch, engine.model.frozen(), streams("refresh", epoch))
    engine.set_rate(engine.config.lr)
    for step, rows in batches(len(engine.user), size=engine.config.batch_size, seed=7, epoch=epoch):
        engine.advance(epoch, step, [rows], Stopwatch())
    engine.settle()
    return engine.meter.summary()


def parameters(engine):
    return torch.cat([engine.model.user, engine.model.item]).detach()


def assert_same_numbers(one, other, *, relative=1e-6):
    """Two engines after the same epoch."""
    found, wanted = run_epoch(one), run_epoch(other)
    assert found == pytest.approx(wanted, rel=relative, abs=1e-9)
    difference = parameters(one) - parameters(other)
    assert float(difference.norm()) <= relative * float(parameters(other).norm())


def assert_equals_torch(dataset, config):
    assert_same_numbers(engine_of(CompiledLightGCN, dataset, config), engine_of(TorchEngine, dataset, config))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_epoch_has_the_numbers_of_autograd(small, sampler, loss):
    assert_equals_torch(small, settings(sampler, loss))


@pytest.mark.parametrize("layers", [0, 1, 2, 4])
def test_with_any_number_of_layers(small, layers):
    assert_equals_torch(small, settings(model=f"lightgcn:dim=33,layers={layers},temperature=0.7"))


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd", "adagrad"])
def test_with_any_optimiser_that_moves_all_rows(small, optimiser):
    assert_equals_torch(small, settings(optimiser=optimiser, weight_decay=0.01, momentum=0.5))


def test_with_other_betas(small):
    other = engine_of(CompiledLightGCN, small, settings(betas=[0.7, 0.9]))
    assert_same_numbers(other, engine_of(TorchEngine, small, settings(betas=[0.7, 0.9])))
    usual = engine_of(TorchEngine, small, settings())
    run_epoch(usual)
    assert not torch.allclose(parameters(other), parameters(usual), rtol=1e-3)


def test_with_users_and_items_without_an_edge(small):
    part, log = small.part.copy(), small.interactions
    part[(part == 0) & ((log.user % 5 == 0) | (log.item % 7 == 0))] = 2
    dataset = Dataset("few", log, part, small.split)
    assert not dataset.train.degree()[::5].any() and not dataset.train.popularity()[::7].any()
    assert_equals_torch(dataset, settings(full_users="skip"))


def test_a_memory_that_learns_from_the_steps_learns_the_same(small):
    for sampler in ("adasir", "srns"):
        ours, torchs = (engine_of(kind, small, settings(sampler)) for kind in (CompiledLightGCN, TorchEngine))
        assert_same_numbers(ours, torchs)
        memory = torchs.sampler.state_dict()
        for name, value in ours.sampler.state_dict().items():
            torch.testing.assert_close(value, memory[name], rtol=1e-4, atol=1e-5)


def test_an_epoch_on_real_data_has_the_numbers_of_autograd(shared):
    from negsieve.loading import load_data

    dataset = load_data(str(shared("ml-100k") / "interactions.parquet"))
    config = settings("dns:candidates=16", model="lightgcn", batch_size=2048, lr=1e-3, l2=1e-4)
    assert_equals_torch(dataset, config)


def test_half_precision_layers_stay_near(small):
    config = settings("dns:candidates=8", precision="bf16")
    ours, exact = (engine_of(CompiledLightGCN, small, one) for one in (config, settings("dns:candidates=8")))
    assert ours.pooled.states.dtype == torch.bfloat16 and ours.model.user.dtype == torch.float32
    found, wanted = run_epoch(ours), run_epoch(exact)
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-2)
    assert not torch.equal(parameters(ours), parameters(exact))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_change_no_bit(small, precision):
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        engine = engine_of(CompiledLightGCN, small, settings("dns_mn:m=2,n=5", precision=precision, batch_size=512))
        run_epoch(engine)
        results.append(parameters(engine))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimiser", ["adam", "adagrad"])
def test_an_engine_that_unpacks_another_goes_on_with_the_same_bits(small, optimiser, precision):
    config = settings(optimiser=optimiser, precision=precision)
    whole, first = (engine_of(CompiledLightGCN, small, config) for _ in range(2))
    for epoch in (0, 1):
        run_epoch(whole, epoch=epoch)
    run_epoch(first)
    tensors, state = first.pack()
    second = engine_of(CompiledLightGCN, small, config)
    second.model.load_state_dict(first.model.state_dict())
    second.unpack({name: one.clone() for name, one in tensors.items()}, state)
    run_epoch(second, epoch=1)
    assert torch.equal(parameters(second), parameters(whole))


def test_parameters_that_somebody_else_writes_are_noticed(small):
    engine = engine_of(CompiledLightGCN, small, settings())
    run_epoch(engine)
    with torch.no_grad():
        engine.model.user.mul_(0.5)
    other = engine_of(CompiledLightGCN, small, settings())
    other.model.load_state_dict(engine.model.state_dict())
    tensors, state = engine.pack()
    other.unpack({name: one.clone() for name, one in tensors.items()}, state)
    for one in (engine, other):
        run_epoch(one, epoch=1)
    assert torch.equal(parameters(engine), parameters(other))


def test_a_loss_that_is_not_finite_stops_before_any_update(small):
    engine = engine_of(CompiledLightGCN, small, settings())
    with torch.no_grad():
        engine.model.item[3, 1] = torch.inf
    before = parameters(engine)
    with pytest.raises(NonFiniteLoss, match="epoch 0, step 0, sampler uniform: the first bad tensor is the parameter"):
        run_epoch(engine)
    assert torch.equal(parameters(engine), before)


def test_vectors_that_are_no_items_are_refused(small):
    class Vectors(Sampler):
        def __init__(self, source):
            super().__init__()
            self.source = source

        def sample(self, batch, scorer, rng):
            found = self.source.sample(batch, scorer, rng)
            return replace(found, vector=scorer.vectors(found.item))

    engine = engine_of(CompiledLightGCN, small, settings(), wrap=Vectors)
    with pytest.raises(CapabilityError, match="made vectors that are no items"):
        run_epoch(engine)


def test_a_sampler_that_reads_single_layers_sees_them(small):
    class NearestInLayer(Sampler):
        needs = frozenset({"vectors", "layers"})

        def __init__(self, source):
            super().__init__()
            self.source = source

        def sample(self, batch, scorer, rng):
            found = self.source.sample(batch, scorer, rng)
            place = scorer.layer(2).score(found.item).argmax(1, keepdim=True)
            return Negatives(found.item.gather(1, place))

    config = settings("uniform:n_negatives=6")
    engines = [engine_of(kind, small, config, wrap=NearestInLayer) for kind in (CompiledLightGCN, TorchEngine)]
    assert_same_numbers(*engines)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "lightgcn:similarity=cosine"}, "similarity=dot"),
        ({"loss": "full_softmax", "sampler": "none"}, "takes autograd"),
        ({"optimiser": "sparse_adam"}, "adam does"),
    ],
)
def test_what_it_cannot_do_is_said(small, changes, reason):
    config = settings(**changes)
    model, sampler = build.make_model(config, small), build.make_sampler(config.sampler, small)
    assert reason in why_not(model, sampler, build.make_loss(config.loss, small), config.train)


def test_runs_take_it_and_resume_to_the_same_bits(small, tmp_path):
    config = settings("dns:candidates=4", epochs=2, checkpoint_every=3)
    assert choose(build.tried(config, small), config.train, torch.device("cpu")).name == CompiledLightGCN.name
    result = session.start(config, small, path=tmp_path / "whole")
    assert result["engine"] == "compiled lightgcn"
    session.start(config, small, path=tmp_path / "other")
    other = Run(tmp_path / "other")
    (other.path / "result.json").unlink()
    session.resume(other.path)
    one, two = (open_trained(tmp_path / name).model for name in ("whole", "other"))
    assert torch.equal(one.user, two.user) and torch.equal(one.item, two.item)
    torchs = session.start(
        settings("dns:candidates=4", epochs=2, engine="torch"), small, path=tmp_path / "torch", watch=None
    )
    assert result["metrics"]["test"] == pytest.approx(torchs["metrics"]["test"], rel=1e-6)
