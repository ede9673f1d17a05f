"""From the gradient of scores to updated embeddings of a graph model, the way back of ``kernels.graph``.

The normalised adjacency is symmetric and the layers are linear, so the gradient of the pooled rows runs
through the very same products: ``dL/dE_0 = (g + A g + .. + A^H g) / (H + 1)``, by Horner's rule. ``g`` is 0 but
on the rows of the batch, which makes the first product a fraction of one; the last one ends in the
optimiser, so that the gradient never reaches memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from negsieve.kernels import native
from negsieve.kernels.graph import Graph, Pair, _bits, _plain, begin_states_reference, neighbour_sums


@dataclass(frozen=True, slots=True)
class Seeds:
    """Where the gradient starts: the n rows that a batch used.

    rows      ``Int[n]``, nodes, each once
    slot      ``Int[N]``: the place of each node in rows, -1 for all others
    gradient  ``Float[n, D]``, of the loss by the pooled rows
    decay     ``Float[n]``, what the rows' own E_0 adds to the gradient of E_0 (L2)
    scratch   ``[>= n, P]`` of the states' kind, overwritten
    """

    rows: Tensor
    slot: Tensor
    gradient: Tensor
    decay: Tensor
    scratch: Tensor


def scatter(
    pooled: Tensor,
    user: Tensor,
    item: Tensor,
    negative: Tensor,
    *,
    d_positive: Tensor,
    d_negative: Tensor,
    slot: Tensor,
    gradient: Tensor,
) -> None:
    """The gradient of the pooled rows from that of dot products of them; writes ``gradient Float[n, D]`` by slot.

    pooled            ``Float[N, D]``
    user, item        nodes, ``Long[B]``
    negative          nodes, ``Long[B, K]``
    d_positive, d_negative  ``Float[B]``, ``Float[B, K]``; negatives with 0 are passed over
    slot              ``Int[N]``

    Repeated rows add up in the order of the batch, whatever the number of threads.
    Cost: 2 (K + 1) rows a row. Raises ValueError for a node without a slot.
    """
    if not native.serves(pooled):
        call = scatter_reference
        return call(
            pooled, user, item, negative, d_positive=d_positive, d_negative=d_negative, slot=slot, gradient=gradient
        )
    native.module().scatter(
        pooled,
        user.contiguous(),
        item.contiguous(),
        negative.contiguous(),
        d_positive.contiguous(),
        d_negative.contiguous(),
        slot,
        gradient,
        native.threads(),
    )


def scatter_reference(
    pooled: Tensor,
    user: Tensor,
    item: Tensor,
    negative: Tensor,
    *,
    d_positive: Tensor,
    d_negative: Tensor,
    slot: Tensor,
    gradient: Tensor,
) -> None:
    """``scatter`` in torch."""
    places = torch.cat([user, item, negative.flatten()])
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(slot):
        raise ValueError("scatter: a node has no slot")
    places = slot[places].long()
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(gradient):
        raise ValueError("scatter: a node has no slot")
    own, width = pooled[user], pooled.shape[1]
    to_user = d_positive[:, None] * pooled[item] + (d_negative[:, :, None] * pooled[negative]).sum(1)
    to_negative = (d_negative[:, :, None] * own[:, None]).reshape(-1, width)
    gradient.zero_().index_add_(0, places, torch.cat([to_user, d_positive[:, None] * own, to_negative]))


def gradient(graph: Graph, states: Tensor, seeds: Seeds, start: Pair, out: Pair) -> None:
    """Writes ``dL/dE_0 + decay * E_0`` to ``out``, two tensors like ``start``. ``states[1:]`` hold nothing after.

    Cost: H products, the first of which adds only the seeds' rows.
    Raises ValueError for rows that are no nodes, or slots that are not their places.
    """
    if not native.serves(states):
        return gradient_reference(graph, states, seeds, start, out)
    native.module().gradient(
        graph.compiled, _bits(states), *_given(seeds), *_plain(*start), *_plain(*out), native.threads()
    )


def gradient_reference(graph: Graph, states: Tensor, seeds: Seeds, start: Pair, out: Pair) -> None:
    """``gradient`` in torch."""
    rows, first = seeds.rows.long(), torch.cat(start).detach()
    own = torch.zeros_like(first)
    own[rows] = seeds.gradient
    scale, sums = graph.scale[:, None], torch.zeros_like(own)
    for _ in range(len(states)):
        # what goes through a product is rounded as a state is, what is added here is not
        state = scale * own + scale**2 * sums
        sums = neighbour_sums(graph, state.to(states.dtype))
    found = (own + scale * sums) / (len(states) + 1)
    found[rows] += seeds.decay[:, None] * first[rows]
    for side, part in zip(out, found.split([len(one) for one in start]), strict=True):
        side.detach().copy_(part)


def descend(
    graph: Graph,
    states: Tensor,
    seeds: Seeds,
    start: Pair,
    *,
    mean: Pair,
    square: Pair,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    step: int = 1,
) -> None:
    """One step of ``torch.optim.Adam`` along ``gradient``; then ``states[0]`` is that of the new ``start``.

    mean, square  the moments, like ``start``; written, as ``start`` is
    step          the number of the step, from 1

    The numbers are Adam's up to rounding. Cost: that of ``gradient``, and one pass over parameters and moments.
    """
    if not native.serves(states):
        return descend_reference(
            graph,
            states,
            seeds,
            start,
            mean=mean,
            square=square,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            step=step,
        )
    native.module().descend(
        graph.compiled,
        _bits(states),
        *_given(seeds),
        *_plain(*start, *mean, *square),
        lr,
        *betas,
        eps,
        weight_decay,
        step,
        native.threads(),
    )
    for one in start:
        torch.autograd.graph.increment_version(one)


def descend_reference(
    graph: Graph,
    states: Tensor,
    seeds: Seeds,
    start: Pair,
    *,
    mean: Pair,
    square: Pair,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    step: int = 1,
) -> None:
    """``descend`` in torch."""
    found = tuple(torch.empty_like(one) for one in start)
    gradient_reference(graph, states, seeds, start, found)
    for p, g, m, v in zip(start, found, mean, square, strict=True):
        p = p.detach()
        g = g + weight_decay * p
        m.lerp_(g, 1 - betas[0])
        v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
        root = (1 - betas[1] ** step) ** 0.5
        p.sub_(lr / (1 - betas[0] ** step) * m / (v.sqrt() / root + eps))
    begin_states_reference(graph, start, states)


def _given(seeds: Seeds) -> tuple[Tensor, ...]:
    return _bits(seeds.scratch), seeds.rows, seeds.slot, seeds.gradient, seeds.decay
