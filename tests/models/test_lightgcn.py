"""LightGCN against a dense implementation written without any of its parts."""

import pytest
import torch

from negsieve.models.lightgcn import LightGCN, normalised_adjacency
from negsieve.models.mf import MF
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives


@pytest.fixture
def graph():
    rng = torch.Generator().manual_seed(3)
    pairs = torch.rand(9, 13, generator=rng) < 0.3
    pairs[4] = False  # a user without a train pair
    pairs[:, 7] = False  # an item without one
    user, item = pairs.nonzero(as_tuple=True)
    return pairs, Seen(user, item, n_users=9, n_items=13)


def layers_of(scorer, item):
    return torch.stack([scorer.layer(hop).vectors(item) for hop in range(scorer.hops)], dim=-2)


def dense_adjacency(pairs):
    n_users, n_items = pairs.shape
    full = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    full[:n_users, n_users:] = pairs.double()
    full[n_users:, :n_users] = pairs.double().T
    scale = full.sum(1).clamp_min(1).rsqrt()
    return scale[:, None] * full * scale[None, :]


def test_adjacency_is_symmetric_normalised_and_has_two_entries_a_pair(graph):
    pairs, train = graph
    adjacency = normalised_adjacency(train)
    assert adjacency.values().numel() == 2 * int(pairs.sum())
    dense = adjacency.to_dense().double()
    assert torch.equal(dense, dense.T)
    torch.testing.assert_close(dense, dense_adjacency(pairs), atol=1e-7, rtol=1e-6)


def test_scores_layers_and_gradients_equal_a_dense_twin(graph):
    pairs, train = graph
    model = LightGCN(9, 13, train=train, dim=8, layers=3, seed=1)
    batch = Batch(torch.tensor([0, 3, 4, 8]), torch.tensor([1, 2, 7, 12]))
    item = torch.arange(13).expand(4, 13)
    scorer = model.encode(batch)
    (scorer.score(item).square().sum() + layers_of(scorer, item).pow(3).sum()).backward()

    start = torch.cat([model.user, model.item]).detach().double().requires_grad_()
    layers = [start]
    for _ in range(3):
        layers.append(dense_adjacency(pairs) @ layers[-1])
    final = sum(layers) / 4
    twin = final[batch.user] @ final[9:].T
    (twin.square().sum() + 4 * sum(layer[9:].pow(3).sum() for layer in layers)).backward()
    torch.testing.assert_close(scorer.score(item).double(), twin, atol=1e-6, rtol=1e-5)
    gradient = torch.cat([model.user.grad, model.item.grad]).double()
    torch.testing.assert_close(gradient, start.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(layers_of(scorer, item).mean(-2), scorer.vectors(item))
    for hop, layer in enumerate(layers):
        torch.testing.assert_close(layers_of(scorer, item)[0, :, hop].double(), layer[9:], atol=1e-6, rtol=1e-5)


def test_no_layers_is_plain_mf(graph):
    _, train = graph
    batch = Batch(torch.tensor([0, 1]), torch.tensor([2, 3]))
    item = torch.arange(13)[None]
    gcn, mf = LightGCN(9, 13, train=train, dim=8, layers=0, seed=5), MF(9, 13, dim=8, seed=5)
    assert torch.equal(gcn.encode(batch).score(item), mf.encode(batch).score(item))


def recall(score, pairs, held, k=3):
    """Mean over users of the held-out share among the k best unseen items, written without the evaluator."""
    best = score.masked_fill(pairs, -torch.inf).topk(k).indices
    hit = held.gather(1, best).sum(1) / held.sum(1).clamp_min(1)
    return float(hit[held.any(1)].mean())


def test_training_follows_the_dense_twin_to_1e_5(graph):
    """The first epochs of LightGCN-BPR with Adam and layer-0 L2: loss and recall, step by step, on fixed triples."""
    pairs, train = graph
    model = LightGCN(9, 13, train=train, dim=8, layers=3, init="xavier_uniform", seed=2)
    start = torch.cat([model.user, model.item]).detach().clone().requires_grad_()
    dense = dense_adjacency(pairs).float()
    ours = torch.optim.Adam(model.parameters(), lr=1e-2)
    theirs = torch.optim.Adam([start], lr=1e-2)
    user, item = pairs.nonzero(as_tuple=True)
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        negative = torch.randint(13, (len(user),), generator=rng)
        batch, drawn = Batch(user, item), Negatives(negative[:, None])
        scorer = model.encode(batch)
        difference = scorer.score(drawn.item) - scorer.score(item[:, None])
        loss = torch.nn.functional.softplus(difference).mean() + 1e-2 * model.penalty(batch, drawn).mean()
        score = model.frozen()(Batch(torch.arange(9))).all()
        ours.zero_grad()
        loss.backward()
        ours.step()

        final = (start + dense @ start + dense @ (dense @ start) + dense @ (dense @ (dense @ start))) / 4
        u, i, j = final[user], final[9 + item], final[9 + negative]
        norm = sum(start[place].square().sum() for place in (user, 9 + item, 9 + negative)) / 2
        twin = -torch.nn.functional.logsigmoid((u * i).sum(1) - (u * j).sum(1)).mean() + 1e-2 * norm / len(user)
        theirs.zero_grad()
        twin.backward()
        theirs.step()
        assert abs(loss.item() - twin.item()) < 1e-5
        held = ~pairs & (torch.arange(13) % 4 == 0)  # pretend that these were held out
        assert abs(recall(score, pairs, held) - recall((final[:9] @ final[9:].T).detach(), pairs, held)) < 1e-5
    torch.testing.assert_close(torch.cat([model.user, model.item]).detach(), start.detach(), atol=2e-4, rtol=1e-3)


def test_frozen_encoder_equals_encode_without_gradients(graph):
    _, train = graph
    model = LightGCN(9, 13, train=train, dim=8, seed=0)
    batch = Batch(torch.tensor([0, 1]))
    frozen = model.frozen()(batch)
    assert torch.equal(frozen.all(), model.encode(batch).score(torch.arange(13)[None]))
    assert not frozen.all().requires_grad


def test_bad_arguments_are_named(graph):
    _, train = graph
    with pytest.raises(ValueError, match="layers=-1"):
        LightGCN(9, 13, train=train, layers=-1)
    with pytest.raises(ValueError, match="similarity='angle'"):
        MF(9, 13, similarity="angle")
    with pytest.raises(ValueError, match="init='ones'"):
        MF(9, 13, init="ones")
