"""Causal self-attention over windows that lie end to end, for reading states: no dropout, and no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from negsieve.kernels import native


def serves(*made_of: Tensor) -> bool:
    """Whether the compiled kernel can attend to what is made of these.

    It can in single precision on the CPU, where nobody asks for a gradient of any of them or for less precision.
    """
    recorded = torch.is_grad_enabled() and any(one.requires_grad for one in made_of)
    single = all(one.dtype == torch.float32 for one in made_of)
    return single and not recorded and native.serves(*made_of) and not torch.is_autocast_enabled("cpu")


@torch.no_grad()
def causal_attention(
    query: Tensor,
    known: Tensor,
    length: Tensor,
    *,
    at: Tensor | None = None,
    heads: int = 1,
    pad: Tensor | None = None,
    pads: int = 0,
) -> Tensor:
    """What tokens attend to among themselves and those before them in their windows: ``Float[N, D]``.

    query   ``Float[N, D]``, divided by the root of a head's width
    known   ``Float[T, 2D]``: keys beside values
    length  ``Long[W]``; tokens of each window, T together
    at      ``Long[N]``, ascending; the tokens that ask. None: all T do
    pad     ``Float[2, D]``: key and value of a token that stands ``pads - length`` times before each window, where that
            is above 0; None: nothing does

    Cost: two rows of D multiply-adds for each token that asks and each it may see, half of what a masked square takes;
    memory of one window's row. Raises ValueError for shapes that do not fit, lengths that do not sum to T and tokens
    out of order, IndexError for one that is none.
    """
    if not serves(query, known):
        return causal_attention_reference(query, known, length, at=at, heads=heads, pad=pad, pads=pads)
    at = torch.arange(len(known)) if at is None else at
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    shown = (query.detach().contiguous(), known.detach().contiguous(), length.contiguous(), at.contiguous())
    pad = None if pad is None else pad.detach().contiguous()
    native.module().causal_attention(*shown, heads, pad, pads, out, native.threads())
    return out


def causal_attention_reference(
    query: Tensor,
    known: Tensor,
    length: Tensor,
    *,
    at: Tensor | None = None,
    heads: int = 1,
    pad: Tensor | None = None,
    pads: int = 0,
) -> Tensor:
    """``causal_attention`` in torch: every token against every other, and a mask. Memory ``[heads, N, T]``."""
    depth = query.shape[1] // heads

    def apart(side: Tensor) -> Tensor:
        return side.view(len(side), heads, depth).transpose(0, 1)  # [h, T, D / h]

    key, value = (apart(side) for side in known.split(query.shape[1], 1))
    window = torch.repeat_interleave(torch.arange(len(length), device=query.device), length)
    place = torch.arange(len(known), device=query.device)
    at = place if at is None else at
    seen = (window[at, None] == window) & (place <= at[:, None])
    rate = (apart(query) @ key.transpose(1, 2)).masked_fill(~seen, -torch.inf)  # [h, N, T]
    if pad is None:
        out = rate.softmax(-1) @ value
    else:
        count = (pads - length).clamp_min(0).to(query.dtype).log()[window[at]]
        pad_rate = apart(query) @ apart(pad[:1]).transpose(1, 2) + count[:, None]  # [h, N, 1]
        share = torch.cat([pad_rate, rate], -1).softmax(-1)
        out = share[..., 1:] @ value + share[..., :1] * apart(pad[1:])
    return out.transpose(0, 1).reshape(query.shape)
