"""Compiled kernels stay clearly faster than their torch twins, in CPU time, best of several, on tiny sizes.

The floors are far below what the kernels reach (docs/benchmarks.md): they catch a kernel that nobody calls any
more, or that lost its speed, on any machine and beside other work; never a few percent.
"""

import time

import pytest
import torch

from negsieve.evaluation.rank import top_k
from negsieve.kernels import native
from negsieve.kernels.graph import Graph, multiply
from negsieve.models.lightgcn import normalised_adjacency
from negsieve.rng import streams
from negsieve.samplers.named import find
from negsieve.scorers import Dot, Towers
from negsieve.seen import Seen
from negsieve.types import Batch

pytestmark = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
USERS, ITEMS, DIM, BATCH, TRIES = 2000, 5000, 64, 2048, 7


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pairs():
    rng = streams("floors")
    user = torch.arange(USERS).repeat_interleave(30)
    return user, torch.randint(ITEMS, (len(user),), generator=rng)


@pytest.fixture(scope="module")
def seen(pairs):
    return Seen(*pairs, n_users=USERS, n_items=ITEMS)


@pytest.fixture(scope="module")
def tables():
    rng = streams("floors", 1)
    return torch.randn(USERS, DIM, generator=rng), torch.randn(ITEMS, DIM, generator=rng)


def seconds(work) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def times_faster(fast, slow) -> float:
    """Best of some turns each, A B A B after one to warm up."""
    fast(), slow()
    taken = [(seconds(fast), seconds(slow)) for _ in range(TRIES)]
    return min(one for _, one in taken) / min(one for one, _ in taken)


def without_kernels(work, patch):
    """``work`` as it runs where nothing is compiled."""

    def plain():
        with patch.context() as here:
            here.setattr(native, "module", lambda: None)
            work()

    return plain


def draws(name, seen, pairs, tables, **settings):
    """A sampler's draws for one batch, ready to be timed."""
    sampler = find(name)(ITEMS, seen=seen, **settings)
    row = torch.randperm(len(pairs[0]), generator=streams("floors", 2))[:BATCH]
    batch = Batch(pairs[0][row], pairs[1][row], row)
    scorer = Dot(tables[0][batch.user], tables[1])
    return lambda: sampler.sample(batch, scorer, streams("floors", 3))


def test_uniform_draws(seen, pairs, tables, monkeypatch):
    work = draws("uniform", seen, pairs, tables, n_negatives=16)
    assert times_faster(work, without_kernels(work, monkeypatch)) >= 3


def test_hardest_of_sixteen(seen, pairs, tables, monkeypatch):
    work = draws("dns", seen, pairs, tables, candidates=16)
    assert times_faster(work, without_kernels(work, monkeypatch)) >= 3


def test_the_best_of_all_items(seen, tables, monkeypatch):
    towers, users = Towers(*tables), torch.arange(512)

    def work():
        top_k(towers, users, 200, n_items=ITEMS, mask=(seen,))

    assert times_faster(work, without_kernels(work, monkeypatch)) >= 2


def test_product_with_the_graph(seen, tables):
    adjacency, x = normalised_adjacency(seen), torch.cat(tables)
    graph, entries = Graph(adjacency), adjacency.to_sparse_coo().coalesce()
    assert times_faster(lambda: multiply(graph, x), lambda: torch.sparse.mm(entries, x)) >= 2
