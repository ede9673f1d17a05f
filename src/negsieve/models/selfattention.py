"""The encoder of SASRec over windows that lie end to end, without a token of padding.

Everything that acts on one token (projections, norms, feed-forward layers) runs on all tokens of all
windows at once. Only attention needs windows apart, and takes those of like length together, padded to the
longest among them. The padding is at the end, where the causal mask hides it from every real token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError
from negsieve.kernels import attention
from negsieve.models.dropout import thinned
from negsieve.scorers import gather

_EPS = 1e-8
_SITES = 3  # dropouts of a block
_SHORT = 8  # windows up to this length are worth one call


@dataclass(frozen=True)
class Tokens:
    """W windows, the shortest first, laid end to end.

    item    ``Long[T]``
    length  ``Long[W]``, ascending, none 0
    sample  ``Long[T]``; names the tokens for dropout
    """

    item: Tensor
    length: Tensor
    sample: Tensor

    def place(self) -> Tensor:
        """Each token's place in its window: ``Long[T]``."""
        start = self.length.cumsum(0) - self.length
        return torch.arange(len(self.item), device=self.item.device) - torch.repeat_interleave(start, self.length)

    def alike(self) -> list[Alike]:
        """Windows that attention takes together: lengths up to 8, 16, 32, .., and the longest apart."""
        longest = int(self.length[-1])
        edges = [edge for edge in (_SHORT << i for i in range(longest.bit_length())) if edge < longest - 1]
        edges += [longest - 1] if longest > _SHORT else []
        edges = torch.tensor([*edges, longest], device=self.length.device)
        bound = pairwise([0, *torch.searchsorted(self.length, edges, right=True).tolist()])
        lengths = [self.length[first:last] for first, last in bound if first < last]
        samples = self.sample.split([int(one.sum()) for one in lengths])
        return [_laid_out(one, sample) for one, sample in zip(lengths, samples, strict=True)]


@dataclass(frozen=True)
class Alike:
    """g windows of like length, next to each other, as a grid ``[g, L]``.

    length  ``Long[g]``
    sample  ``Long[g, L]``
    place   ``Long[g * L]``; the token in a cell, counted from the first of these windows, and some token of the
            window where the cell is empty; none: every cell has its own
    cell    ``Long[t]``; where each token is in the grid
    """

    length: Tensor
    sample: Tensor
    place: Tensor | None = None
    cell: Tensor | None = None

    def grid(self, value: Tensor) -> Tensor:
        """``[t, D]`` -> ``[g, L, D]``."""
        value = value if self.place is None else value.index_select(0, self.place)
        return value.view(*self.sample.shape, -1)

    def line(self, value: Tensor) -> Tensor:
        """``[g * L, D]`` -> ``[t, D]``."""
        return value if self.cell is None else value.index_select(0, self.cell)


def _laid_out(length: Tensor, sample: Tensor) -> Alike:
    many, longest = len(length), int(length[-1])
    if many * longest == len(sample):
        return Alike(length, sample.view(many, longest))
    within = torch.arange(longest, device=length.device)
    place = (length.cumsum(0) - length)[:, None] + torch.minimum(within, length[:, None] - 1)
    cell = (within < length[:, None]).view(-1).nonzero()[:, 0]
    return Alike(length, sample[place], place.view(-1), cell)


class Linear(nn.Module):
    """``x W^T + b`` with Xavier-normal weights from ``rng`` and biases at 0."""

    def __init__(self, inside: int, outside: int, *, rng: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(outside, inside), generator=rng))
        self.bias = nn.Parameter(torch.zeros(outside))

    def forward(self, value: Tensor) -> Tensor:
        return nn.functional.linear(value, self.weight, self.bias)


class Block(nn.Module):
    """Causal self-attention, then a feed-forward layer, as the code of SASRec has them.

    ``q = LN(x); x = LN(q + MHA(q, x, x)); x = x + FFN(x)``: queries are normalised, keys and values are not.

    pads  how many zero tokens before a window take part in attention, for windows of ``pads`` less; 0: none.
          Such a token has the biases of key and value for its own, so all of them are one with a larger weight
    """

    def __init__(self, dim: int, heads: int, *, dropout: float, pads: int, site: int, rng: torch.Generator) -> None:
        super().__init__()
        self.dim, self.heads, self.dropout, self.pads, self.site = dim, heads, dropout, pads, site
        self.norm, self.middle = nn.LayerNorm(dim, eps=_EPS), nn.LayerNorm(dim, eps=_EPS)
        self.project, self.merge = Linear(dim, 3 * dim, rng=rng), Linear(dim, dim, rng=rng)
        self.widen, self.narrow = Linear(dim, dim, rng=rng), Linear(dim, dim, rng=rng)

    def forward(
        self,
        value: Tensor,
        tokens: Tokens,
        alike: Callable[[], list[Alike]],
        noise: int | None,
        at: Tensor | None = None,
    ) -> Tensor:
        """``Float[T, D]`` -> ``Float[T, D]``; with ``at Long[N]``, ascending, of these tokens alone."""
        weight, bias, dim = self.project.weight, self.project.bias, self.dim
        known = nn.functional.linear(value, weight[dim:], bias[dim:])  # [T, 2D]: keys, values
        # queries come of what keys come of, and of a norm that may learn beside frozen projections
        silent = noise is None and attention.serves(known, *self.norm.parameters())
        query = self.norm(value[at] if silent and at is not None else value)
        asking = nn.functional.linear(query, weight[:dim], bias[:dim]) / math.sqrt(dim // self.heads)
        if silent:
            pad = bias[dim:].view(2, dim) if self.pads else None
            how = {"at": at, "heads": self.heads, "pad": pad, "pads": self.pads}
            attended = attention.causal_attention(asking, known, tokens.length, **how)
        else:
            attended = self._attended(asking, known, alike(), noise)
        value = self.middle(query + self.merge(attended))
        hidden = thinned(self.widen(value), self.dropout, key=noise, sample=tokens.sample, site=self.site + 1).relu()
        value = value + thinned(self.narrow(hidden), self.dropout, key=noise, sample=tokens.sample, site=self.site + 2)
        return value if silent or at is None else value[at]

    def _attended(self, asking: Tensor, known: Tensor, alike: list[Alike], noise: int | None) -> Tensor:
        """Queries ``[T, D]``, keys and values ``[T, 2D]`` -> ``[T, D]``, windows of like length together."""
        many = [len(one.sample) * one.sample.shape[1] if one.cell is None else len(one.cell) for one in alike]
        sides = zip(alike, asking.split(many), known.split(many), strict=True)
        return torch.cat([one.line(self._attend(one, asks, knows, noise)) for one, asks, knows in sides])

    def _attend(self, alike: Alike, asks: Tensor, knows: Tensor, noise: int | None) -> Tensor:
        """Queries ``[t, D]``, keys and values ``[t, 2D]`` of like windows -> ``[g * L, D]``."""
        many, longest = alike.sample.shape
        key, value = (self._apart(side) for side in alike.grid(knows).split(self.dim, -1))  # [g h, L, D / h]
        query = self._apart(alike.grid(asks))
        later = torch.full((longest, longest), -torch.inf, dtype=query.dtype, device=query.device).triu(1)
        rate = torch.baddbmm(later.expand(len(query), -1, -1), query, key.transpose(1, 2))  # [g h, L, L]
        if self.pads:
            rate = torch.cat([self._pad_rate(query, alike.length), rate], -1)
        share = rate.softmax(-1)
        if noise is not None:
            head = torch.arange(self.heads, device=share.device)[:, None]
            named = alike.sample[:, None] * self.heads + head  # [g, h, L]
            share = thinned(share, self.dropout, key=noise, sample=named, site=self.site)
        if self.pads:
            pad, share = share[..., :1], share[..., 1:]
            bias = self.project.bias[2 * self.dim :].view(self.heads, 1, -1).repeat(many, 1, 1)  # [g h, 1, D / h]
            out = share @ value + pad * bias
        else:
            out = share @ value
        if self.heads > 1:
            out = out.view(many, self.heads, longest, -1).transpose(1, 2)
        return out.reshape(many * longest, self.dim)

    def _apart(self, side: Tensor) -> Tensor:
        """Heads as rows of their own: ``[g, L, D]`` -> ``[g h, L, D / h]``."""
        if self.heads == 1:
            return side
        many, longest, _ = side.shape
        return side.view(many, longest, self.heads, -1).transpose(1, 2).reshape(many * self.heads, longest, -1)

    def _pad_rate(self, query: Tensor, length: Tensor) -> Tensor:
        """What all zero tokens before a window weigh together, as a logit: ``[g h, L, 1]``."""
        key = self.project.bias[self.dim : 2 * self.dim].view(self.heads, -1, 1).repeat(len(length), 1, 1)
        count = (self.pads - length).clamp_min(0).to(query.dtype).log()  # -inf where the window is full
        return query @ key + count.repeat_interleave(self.heads)[:, None, None]


class SelfAttention(nn.Module):
    """Embeddings with places, dropout, blocks. ``last`` is the final norm, for the tokens that are read.

    length  places that are learnt; the last token of a window has the last one
    pads    see ``Block``
    """

    def __init__(
        self, dim: int, *, length: int, blocks: int, heads: int, dropout: float, pads: int, rng: torch.Generator
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UsageError(f"dim={dim}, heads={heads}: wanted a width that the heads can share evenly")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout={dropout}, wanted a share from 0 to below 1")
        self.dim, self.dropout = dim, dropout
        self.place = nn.Parameter(nn.init.xavier_normal_(torch.empty(length, dim), generator=rng))
        self.blocks = nn.ModuleList(
            Block(dim, heads, dropout=dropout, pads=pads, site=1 + i * _SITES, rng=rng) for i in range(blocks)
        )
        self.last = nn.LayerNorm(dim, eps=_EPS)

    def token_bytes(self, length: int) -> int:
        """About what autograd keeps of a token of windows of ``length``."""
        return 4 * len(self.blocks) * (20 * self.dim + 3 * self.blocks[0].heads * length)

    def forward(self, vector: Tensor, tokens: Tokens, noise: int | None, at: Tensor | None = None) -> Tensor:
        """Item vectors ``Float[T, D]`` -> states before the final norm, ``Float[T, D]``, or of ``at`` alone.

        at  ``Long[N]``, ascending; the tokens whose states are wanted. Without a gradient others cost a block less
        """
        if not len(vector):
            return vector
        place = len(self.place) - torch.repeat_interleave(tokens.length, tokens.length) + tokens.place()
        value = math.sqrt(self.dim) * vector + gather(self.place, place)
        value = thinned(value, self.dropout, key=noise, sample=tokens.sample, site=0)
        alike = cache(tokens.alike)
        for block in self.blocks[:-1]:
            value = block(value, tokens, alike, noise)
        return self.blocks[-1](value, tokens, alike, noise, at)
