"""The encoder of SASRec over windows that lie end to end, without a token of padding.

Everything that acts on one token (projections, norms, feed-forward layers) runs on all tokens of all
windows at once. Only attention needs windows apart, and takes those of like length together, padded to the
longest among them. The padding is at the end, where the causal mask hides it from every real token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError
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

    def alike(self) -> list[tuple[int, int]]:
        """Ranges of windows that attention takes together: lengths up to 8, 16, 32, .., and the longest apart."""
        longest = int(self.length[-1]) if len(self.length) else 0
        edges = [edge for edge in (_SHORT << i for i in range(longest.bit_length())) if edge < longest - 1]
        edges += [longest - 1] if longest > _SHORT else []
        edges = torch.tensor([*edges, longest], device=self.length.device)
        bound = [0, *torch.searchsorted(self.length, edges, right=True).tolist()]
        return [(a, b) for a, b in pairwise(bound) if a < b]


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

    def forward(self, value: Tensor, tokens: Tokens, ranges: list[tuple[int, int]], noise: int | None) -> Tensor:
        """``Float[T, D]`` -> ``Float[T, D]``."""
        weight, bias = self.project.weight, self.project.bias
        query = self.norm(value)
        own = nn.functional.linear(query, weight[: self.dim], bias[: self.dim])
        seen = nn.functional.linear(value, weight[self.dim :], bias[self.dim :])  # [T, 2D]: keys, values
        attended = self._attention(torch.cat([own, seen], 1), tokens, ranges, noise)
        value = self.middle(query + self.merge(attended))
        hidden = thinned(self.widen(value), self.dropout, key=noise, sample=tokens.sample, site=self.site + 1).relu()
        return value + thinned(self.narrow(hidden), self.dropout, key=noise, sample=tokens.sample, site=self.site + 2)

    def _attention(self, side: Tensor, tokens: Tokens, ranges: list[tuple[int, int]], noise: int | None) -> Tensor:
        """Queries, keys and values ``[T, 3D]`` -> ``[T, D]``, a range of like windows at a time."""
        bound = [0, *tokens.length.cumsum(0)[[last - 1 for _, last in ranges]].tolist()]
        found = []
        for (first, last), (at, end) in zip(ranges, pairwise(bound), strict=True):
            length, sample = tokens.length[first:last], tokens.sample[at:end]
            longest = int(length[-1])
            if len(length) * longest == end - at:  # all of one length: nothing to pad
                found.append(self._attend(side[at:end].view(len(length), longest, -1), length, sample, noise))
                continue
            within = torch.arange(longest, device=side.device)
            real = within < length[:, None]  # [g, L]
            place = (length.cumsum(0) - length)[:, None] + torch.minimum(within, length[:, None] - 1)
            padded = side[at:end][place]
            found.append(self._attend(padded, length, sample[place], noise)[real.view(-1)])
        return torch.cat(found)

    def _attend(self, side: Tensor, length: Tensor, sample: Tensor, noise: int | None) -> Tensor:
        """``[g, L, 3D]`` -> ``[g * L, D]``."""
        many, longest, _ = side.shape
        query, key, value = side.view(many, longest, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [g, h, L, D / h]
        query = query / math.sqrt(query.shape[-1])
        later = torch.ones(longest, longest, dtype=torch.bool, device=side.device).triu(1)
        rate = (query @ key.transpose(-1, -2)).masked_fill(later, -torch.inf)  # [g, h, L, L]
        if self.pads:
            rate = torch.cat([self._pad_rate(query, length), rate], -1)
        share = rate.softmax(-1)
        if noise is not None:
            head = torch.arange(self.heads, device=side.device)[None, :, None]
            named = sample.view(many, 1, longest) * self.heads + head  # [g, h, L]
            share = thinned(share, self.dropout, key=noise, sample=named, site=self.site)
        if self.pads:
            pad, share = share[..., :1], share[..., 1:]
            out = share @ value + pad * self.project.bias[2 * self.dim :].view(self.heads, 1, -1)
        else:
            out = share @ value
        return out.transpose(1, 2).reshape(many * longest, self.dim)

    def _pad_rate(self, query: Tensor, length: Tensor) -> Tensor:
        """What all zero tokens before a window weigh together, as a logit: ``[g, h, L, 1]``."""
        key = self.project.bias[self.dim : 2 * self.dim].view(self.heads, -1, 1)
        count = (self.pads - length).clamp_min(0).to(query.dtype).log()  # -inf where the window is full
        return query @ key + count[:, None, None, None]


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

    def forward(self, vector: Tensor, tokens: Tokens, noise: int | None) -> Tensor:
        """Item vectors ``Float[T, D]`` -> states before the final norm, ``Float[T, D]``."""
        if not len(vector):
            return vector
        place = len(self.place) - torch.repeat_interleave(tokens.length, tokens.length) + tokens.place()
        value = math.sqrt(self.dim) * vector + gather(self.place, place)
        value = thinned(value, self.dropout, key=noise, sample=tokens.sample, site=0)
        ranges = tokens.alike()
        for block in self.blocks:
            value = block(value, tokens, ranges, noise)
        return value
