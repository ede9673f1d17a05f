"""Optimisers by rows: torch's rule on the rows with a gradient, and nothing on the others."""

import pytest
import torch
from torch.nn.functional import embedding

from negsieve.config import resolve
from negsieve.errors import ConfigError
from negsieve.rng import streams
from negsieve.training import session
from negsieve.training.optimise import make_optimiser
from negsieve.training.rowwise import RowwiseAdagrad, SparseAdam


def test_sparse_adam_is_that_of_torch():
    rng = streams("rowwise")
    ours = torch.nn.Parameter(torch.randn(10, 4, generator=rng))
    theirs = torch.nn.Parameter(ours.detach().clone())
    dense, sparse = SparseAdam([ours], lr=0.1), torch.optim.SparseAdam([theirs], lr=0.1)
    for _ in range(30):
        rows, weight = torch.randint(10, (3,), generator=rng), torch.randn(3, 4, generator=rng)
        for table, optimiser, looked in ((ours, dense, ours[rows]), (theirs, sparse, None)):
            optimiser.zero_grad()
            looked = embedding(rows, table, sparse=True) if looked is None else looked
            (looked * weight).sum().backward()
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_rowwise_adagrad_keeps_one_number_a_row():
    table = torch.nn.Parameter(torch.zeros(3, 2))
    optimiser = RowwiseAdagrad([table], lr=0.5)
    for _ in range(2):
        optimiser.zero_grad()
        (table[1] * torch.tensor([3.0, 4.0])).sum().backward()
        optimiser.step()
    mean = 12.5  # of 9 and 16
    wanted = -0.5 * torch.tensor([3.0, 4.0]) * (mean**-0.5 + (2 * mean) ** -0.5)
    torch.testing.assert_close(table[1].detach(), wanted)
    assert not table[[0, 2]].any()
    assert optimiser.state[table]["sum"].tolist() == [0.0, 25.0, 0.0]


@pytest.mark.parametrize("name", ["sparse_adam", "rowwise_adagrad"])
def test_parameters_of_any_shape_and_without_gradients(name):
    shapes = [(), (3,), (2, 3), (2, 3, 4)]
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimiser = make_optimiser(parameters, resolve({"train": {"optimiser": name}}).train)
    for one in parameters[:-1]:
        one.grad = torch.ones_like(one)
    optimiser.step()
    assert all((one < 1).all() for one in parameters[:-1])
    assert (parameters[-1] == 1).all()


@pytest.mark.parametrize("name", ["sparse_adam", "rowwise_adagrad"])
def test_they_train(small, tmp_path, name):
    config = {"optimiser": name, "lr": 0.05, "epochs": 6, "batch_size": 64, "device": "cpu", "engine": "torch"}
    session.start(resolve({"train": config, "model": "mf:dim=8"}), small, path=tmp_path / "run")
    from negsieve.store.run import Run

    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]


def test_decay_of_every_row_is_refused():
    with pytest.raises(ConfigError, match="weight_decay=0 with optimiser sparse_adam"):
        resolve({"train": {"optimiser": "sparse_adam", "weight_decay": 0.1}})
