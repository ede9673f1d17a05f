"""Graph products and the way back through them: kernels equal their torch twins and autograd, whatever the threads."""

import copy

import pytest
import torch

from negsieve.kernels import descend as way_back
from negsieve.kernels import graph as graphs
from negsieve.kernels import native
from negsieve.kernels.descend import Seeds
from negsieve.kernels.graph import Graph
from negsieve.models.lightgcn import normalised_adjacency
from negsieve.rng import streams
from negsieve.seen import Seen

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")
USERS, ITEMS = 310, 420
NODES = USERS + ITEMS
LOOSE = {torch.float32: {"rtol": 2e-5, "atol": 2e-6}, torch.bfloat16: {"rtol": 2e-2, "atol": 2e-3}}


@pytest.fixture(scope="module")
def graph():
    rng = streams("graph")
    user = (USERS * torch.rand(2500, generator=rng) ** 2).long()
    item = (ITEMS * torch.rand(2500, generator=rng) ** 2).long()
    alone = (user == 7) | (item == 3)  # a user and an item without edges
    return Graph(normalised_adjacency(Seen(user[~alone], item[~alone], n_users=USERS, n_items=ITEMS)))


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def tables(width, name="tables"):
    rng = streams(name)
    return torch.randn(USERS, width, generator=rng), torch.randn(ITEMS, width, generator=rng)


def seeds_of(graph, width, *, n=60, dtype=torch.float32, name="seeds"):
    """Seeds on n nodes, the loneliest among them."""
    rng = streams(name)
    nodes = torch.cat([torch.randint(NODES, (n,), generator=rng), torch.tensor([7, USERS + 3])[:n]])
    slot, rows = torch.full((NODES,), -1, dtype=torch.int32), torch.empty(NODES, dtype=torch.int32)
    count = graphs.collect_reference(nodes, slot, rows)
    return Seeds(
        rows=rows[:count],
        slot=slot,
        gradient=torch.randn(count, width, generator=rng),
        decay=torch.rand(count, generator=rng),
        scratch=torch.empty(NODES, graphs.padded(width), dtype=dtype),
    )


def started(graph, start, *, hops, dtype=torch.float32, call=graphs):
    states = graphs.new_states(graph, start[0].shape[1], hops=hops, dtype=dtype)
    call.begin_states(graph, start, states)
    return states


@compiled
@pytest.mark.parametrize("width", [1, 3, 33, 64, 65, 100, 128, 256])
def test_a_product_equals_the_sparse_one(graph, width, threads):
    x = torch.cat(tables(width))
    threads(1)
    found = graphs.multiply(graph, x)
    torch.testing.assert_close(found, graphs.multiply_reference(graph, x), rtol=1e-5, atol=1e-6)
    assert not found[7].any() and not found[USERS + 3].any()
    for many in (2, 4):
        threads(many)
        assert torch.equal(graphs.multiply(graph, x), found)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
@pytest.mark.parametrize("width", [3, 64, 100])
def test_layers_and_pooled_rows_equal_the_twins(graph, width, hops, dtype, threads):
    start = tables(width)
    own, twin = started(graph, start, hops=hops, dtype=dtype), graphs.new_states(graph, width, hops=hops, dtype=dtype)
    graphs.begin_states_reference(graph, start, twin)
    assert torch.equal(own, twin)
    graphs.propagate(graph, own)
    graphs.propagate_reference(graph, twin)
    torch.testing.assert_close(own, twin, **LOOSE[dtype])
    rows = torch.tensor([USERS + 3, 0, 7, 5, NODES - 1, USERS], dtype=torch.int32)
    found, wanted = torch.full((NODES, width), torch.nan), torch.full((NODES, width), torch.nan)
    graphs.pool_rows(graph, start, own, rows, found)
    graphs.pool_rows_reference(graph, start, own, rows, wanted)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert int(found.isnan().any(1).sum()) == NODES - len(rows)
    everything = torch.arange(NODES, dtype=torch.int32)
    graphs.pool_rows(graph, start, own, everything, found)
    for many in (2, 4):
        threads(many)
        states = started(graph, start, hops=hops, dtype=dtype)
        graphs.propagate(graph, states)
        again = torch.empty_like(found)
        graphs.pool_rows(graph, start, states, everything, again)
        assert torch.equal(states, own) and torch.equal(again, found)


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_the_pooled_rows_are_the_mean_of_the_layers(graph, hops):
    start = tables(5)
    dense = graph.adjacency.to_dense()
    layers = [torch.cat(start)]
    for _ in range(hops):
        layers.append(dense @ layers[-1])
    states = started(graph, start, hops=hops)
    graphs.propagate(graph, states)
    found = torch.empty(NODES, 5)
    graphs.pool_rows(graph, start, states, torch.arange(NODES, dtype=torch.int32), found)
    torch.testing.assert_close(found, sum(layers) / (hops + 1), rtol=1e-5, atol=1e-6)


@compiled
def test_pieces_taken_by_whoever_is_free_give_the_bits_of_one_thread(threads):
    """Some tens of pieces of unequal cost, in calls enough for every order in which threads may take them."""
    users, items, rng = 12_000, 8_000, streams("pieces")
    user, item = (users * torch.rand(60_000, generator=rng) ** 3).long(), torch.randint(items, (60_000,), generator=rng)
    graph = Graph(normalised_adjacency(Seen(user, item, n_users=users, n_items=items)))
    start = torch.randn(users, 16, generator=rng), torch.randn(items, 16, generator=rng)
    rows = torch.randperm(users + items, generator=rng)[:5000].int()

    def layers() -> tuple[torch.Tensor, torch.Tensor]:
        states, pooled = started(graph, start, hops=3), torch.zeros(users + items, 16)
        graphs.propagate(graph, states)
        graphs.pool_rows(graph, start, states, rows, pooled)
        return states, pooled

    threads(1)
    wanted = layers()
    for turn in range(20):
        threads(2 + turn % 3)
        assert all(torch.equal(*pair) for pair in zip(layers(), wanted, strict=True))


@compiled
def test_slots_are_given_once_in_order():
    for call in (graphs.collect, graphs.collect_reference):
        slot, rows = torch.full((100,), -1, dtype=torch.int32), torch.zeros(100, dtype=torch.int32)
        assert call(torch.tensor([], dtype=torch.long), slot, rows) == 0
        assert call(torch.tensor([5, 99, 5, 0]), slot, rows) == 3
        assert call(torch.tensor([64, 5, 63]), slot, rows, 3) == 5
        assert rows[:5].tolist() == [0, 5, 99, 63, 64]
        assert slot[rows[:5].long()].tolist() == [0, 1, 2, 3, 4] and int((slot >= 0).sum()) == 5
        for bad in (100, -1):
            with pytest.raises(ValueError, match="no node"):
                call(torch.tensor([3, bad]), slot, rows, 5)


@compiled
@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (1, 1), (700, 1), (300, 5)])
def test_gradients_of_scores_reach_their_rows(shape, threads):
    rng = streams("scatter", *shape)
    (many, k), width, nodes = shape, 33, 50
    pooled = torch.randn(nodes, width, generator=rng, requires_grad=True)
    user, item = torch.randint(20, (2, many), generator=rng)
    item, negative = item + 20, 20 + torch.randint(30, (many, k), generator=rng)
    slopes = torch.randn(many, generator=rng), torch.randn(many, k, generator=rng)
    slopes[1][:, :1] *= torch.rand(many, min(1, k), generator=rng) < 0.5
    score = (pooled[user] * pooled[item]).sum(1), (pooled[user][:, None] * pooled[negative]).sum(2)
    (wanted,) = torch.autograd.grad(score, pooled, slopes, allow_unused=True, materialize_grads=True)
    slot, rows = torch.full((nodes,), -1, dtype=torch.int32), torch.zeros(nodes, dtype=torch.int32)
    count = graphs.collect(torch.cat([user, item, negative.flatten()]), slot, rows)
    options = {"d_positive": slopes[0], "d_negative": slopes[1], "slot": slot}
    results = []
    for many_threads, call in (
        (1, way_back.scatter_reference),
        (1, way_back.scatter),
        (2, way_back.scatter),
        (4, way_back.scatter),
    ):
        threads(many_threads)
        found = torch.full((count, width), torch.nan)
        call(pooled.detach(), user, item, negative, gradient=found, **options)
        torch.testing.assert_close(found, wanted[rows[:count].long()], rtol=1e-5, atol=1e-5)
        results.append(found)
    assert torch.equal(results[1], results[2]) and torch.equal(results[1], results[3])
    if many:
        for call in (way_back.scatter_reference, way_back.scatter):
            for bad in (nodes, -1, 19 if not (user == 19).any() else 49):
                with pytest.raises(ValueError, match="no slot"):
                    call(
                        pooled.detach(),
                        user,
                        torch.full_like(item, bad),
                        negative,
                        gradient=results[0],
                        **options | {"slot": torch.where(torch.arange(nodes) == bad, -1, slot).int()},
                    )


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hops", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("width", [1, 64, 100])
def test_the_gradient_equals_the_twin(graph, width, hops, dtype, threads):
    start, seeds = tables(width), seeds_of(graph, width, dtype=dtype)
    wanted = tuple(torch.empty_like(one) for one in start)
    way_back.gradient_reference(graph, started(graph, start, hops=hops, dtype=dtype), seeds, start, wanted)
    results = []
    for many in (1, 2, 4):
        threads(many)
        results.append(tuple(torch.full_like(one, torch.nan) for one in start))
        way_back.gradient(graph, started(graph, start, hops=hops, dtype=dtype), seeds, start, results[-1])
    for place in (0, 1):
        torch.testing.assert_close(results[0][place], wanted[place], **LOOSE[dtype])
        assert torch.equal(results[0][place], results[1][place])
        assert torch.equal(results[0][place], results[2][place])


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_the_gradient_is_that_of_autograd(graph, hops):
    start, seeds = tables(6), seeds_of(graph, 6)
    first = torch.cat(start).requires_grad_()
    layers, dense = [first], graph.adjacency.to_dense()
    for _ in range(hops):
        layers.append(dense @ layers[-1])
    rows = seeds.rows.long()
    loss = ((sum(layers) / (hops + 1))[rows] * seeds.gradient).sum()
    (loss + (seeds.decay * first[rows].square().sum(1) / 2).sum()).backward()
    out = tuple(torch.empty_like(one) for one in start)
    way_back.gradient(graph, started(graph, start, hops=hops), seeds, start, out)
    torch.testing.assert_close(torch.cat(out), first.grad, rtol=1e-5, atol=1e-6)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hops", [0, 1, 3])
def test_steps_of_adam_equal_those_of_torch(graph, hops, dtype, threads):
    width, options = 33, {"lr": 1e-2, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 1e-3}
    found, states, moments = {}, {}, {}
    for many in (1, 2, 4):
        threads(many)
        found[many] = tables(width)
        states[many] = started(graph, found[many], hops=hops, dtype=dtype)
        moments[many] = [tuple(torch.zeros_like(one) for one in found[many]) for _ in range(2)]
        for step in range(1, 8):
            way_back.descend(
                graph,
                states[many],
                seeds_of(graph, width, dtype=dtype, name=f"step{step}"),
                found[many],
                mean=moments[many][0],
                square=moments[many][1],
                step=step,
                **options,
            )
    wanted = tuple(torch.nn.Parameter(one) for one in tables(width))
    optimiser = torch.optim.Adam(wanted, fused=True, **options)
    for step in range(1, 8):
        seeds = seeds_of(graph, width, dtype=dtype, name=f"step{step}")
        for one in wanted:
            one.grad = torch.empty_like(one)
        spare = started(graph, wanted, hops=hops, dtype=dtype)
        way_back.gradient(graph, spare, seeds, wanted, tuple(one.grad for one in wanted))
        optimiser.step()
    for place in (0, 1):
        torch.testing.assert_close(found[1][place], wanted[place].detach(), rtol=1e-5, atol=1e-6)
        assert torch.equal(found[1][place], found[2][place]) and torch.equal(found[1][place], found[4][place])
        for own, name in zip(moments[1], ("exp_avg", "exp_avg_sq"), strict=True):
            torch.testing.assert_close(own[place], optimiser.state[wanted[place]][name], rtol=1e-5, atol=1e-7)
    if hops:
        assert torch.equal(states[1][0], started(graph, found[1], hops=hops, dtype=dtype)[0])


@compiled
def test_the_twin_of_a_step_is_the_step(graph):
    results = []
    for call in (way_back.descend, way_back.descend_reference):
        start = tables(5)
        moments = [tuple(torch.zeros_like(one) for one in start) for _ in range(2)]
        states = started(graph, start, hops=2)
        version = start[0]._version
        for step in (1, 2, 3):
            call(graph, states, seeds_of(graph, 5), start, mean=moments[0], square=moments[1], lr=0.1, step=step)
        assert start[0]._version > version
        results.append((*start, *moments[0], *moments[1], states[0]))
    for own, twin in zip(*results, strict=True):
        torch.testing.assert_close(own, twin, rtol=1e-5, atol=1e-6)


@compiled
def test_a_graph_of_no_edges_and_one_node_a_side():
    graph = Graph(normalised_adjacency(Seen([], [], n_users=1, n_items=1)))
    start = torch.ones(1, 3), torch.ones(1, 3)
    states = started(graph, start, hops=2)
    graphs.propagate(graph, states)
    pooled = torch.empty(2, 3)
    graphs.pool_rows(graph, start, states, torch.tensor([0, 1], dtype=torch.int32), pooled)
    torch.testing.assert_close(pooled, torch.full((2, 3), 1 / 3))
    assert not graphs.multiply(graph, torch.ones(2, 3)).any()


@compiled
def test_what_does_not_fit_raises(graph):
    module, start = native.module(), tables(4)
    states, seeds = started(graph, start, hops=2), seeds_of(graph, 4)
    offset, neighbour, scale = graph.offset, graph.neighbour, graph.scale
    for bad in (NODES, -1):
        wrong = neighbour.clone()
        wrong[5] = bad
        with pytest.raises(ValueError, match="no node"):
            module.Graph(offset, wrong, scale)
        for call in (graphs.pool_rows, graphs.pool_rows_reference):
            with pytest.raises(ValueError, match="no node"):
                call(graph, start, states, torch.tensor([bad], dtype=torch.int32), torch.empty(NODES, 4))
    with pytest.raises(ValueError, match="not fall"):
        module.Graph(torch.tensor([0, 2, 1, 2]), torch.tensor([0, 1], dtype=torch.int32), torch.ones(3))
    with pytest.raises(ValueError, match="run from 0"):
        module.Graph(offset, neighbour[:-1].contiguous(), scale)
    with pytest.raises(ValueError, match="one width"):
        graphs.begin_states(graph, (start[0], start[1][:-1]), states)
    with pytest.raises(ValueError, match="rounded up"):
        graphs.begin_states(graph, tables(20), states)
    out = tuple(torch.empty_like(one) for one in start)
    for slot in (seeds.slot.clone().fill_(-1), seeds.slot.clone().fill_(0)):
        with pytest.raises(ValueError, match="slots"):
            wrong = Seeds(seeds.rows, slot, seeds.gradient, seeds.decay, seeds.scratch)
            way_back.gradient(graph, states, wrong, start, out)
    with pytest.raises(ValueError, match="no node"):
        wrong = Seeds(seeds.rows + NODES, seeds.slot, seeds.gradient, seeds.decay, seeds.scratch)
        way_back.gradient(graph, states, wrong, start, out)


def test_a_copied_graph_is_the_graph(graph):
    assert copy.deepcopy(graph) is graph
