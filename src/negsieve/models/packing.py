"""From sequences to packed tokens: which windows a batch reads, laid end to end, and where each row's state is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from negsieve.histories import Histories, Stretches, Windows
from negsieve.models.selfattention import SelfAttention, Tokens
from negsieve.scorers import gather


@dataclass(frozen=True)
class Reading:
    """Windows to encode, and the tokens whose states B rows read.

    tokens  the windows
    at      ``Long[B]``; the token whose state a row reads, -1 where nothing came before
    start   ``Long[B]``; the first token of the window that it stands in
    """

    tokens: Tokens
    at: Tensor
    start: Tensor


def at_places(histories: Histories, windows: Windows | Stretches, window: Tensor, place: Tensor) -> Reading:
    """Reads the states after some places of ``histories.item``, each window once for all of its places.

    window  ``Long[B]``; the one that a place is read in, -1 for rows that read nothing
    place   ``Long[B]``
    """
    known = window >= 0
    asked, which = window[known].unique(return_inverse=True)
    length, by = windows.many[asked].sort(stable=True)
    rank = torch.empty_like(by)
    rank[by] = torch.arange(len(by), device=by.device)
    first, start = windows.first[asked[by]], length.cumsum(0) - length
    token = torch.repeat_interleave(first - start, length)
    token = token + torch.arange(len(token), device=token.device)
    at, begin = torch.full_like(place, -1), torch.zeros_like(place)
    own = rank[which]
    at[known] = start[own] + place[known] - first[own]
    begin[known] = start[own]
    return Reading(Tokens(histories.item[token], length, token), at, begin)


def after(history: Tensor, longest: int) -> Reading:
    """Reads the state after each history: ``Long[B, L]``, -1 for nothing. The last ``longest`` items count."""
    real = history >= 0
    real &= real.flip(1).cumsum(1).flip(1) <= longest
    length, by = real.sum(1).sort(stable=True)
    item, real = history[by], real[by]
    sample = (by[:, None] * history.shape[1] + torch.arange(history.shape[1], device=by.device))[real]
    end = length.cumsum(0)
    at, start = torch.empty_like(by), torch.empty_like(by)
    at[by] = torch.where(length > 0, end - 1, -1)
    start[by] = end - length
    return Reading(Tokens(item[real], length[length > 0], sample), at, start)


def states(encoder: SelfAttention, table: Tensor, reading: Reading, noise: int | None) -> Tensor:
    """The encoder's output at the tokens that are read; where nothing came before, the last norm's bias. ``[B, D]``."""
    at, place = None, read_at(reading)
    if noise is None and not torch.is_grad_enabled() and 2 * len(place) <= len(reading.tokens.item):
        at, place = _read_alone(reading)
    return encoder.last(gather(_inner(encoder, table, reading, noise, at), place))


def steps(encoder: SelfAttention, table: Tensor, reading: Reading, noise: int | None) -> Tensor:
    """The encoder's output at every token, and last what ``states`` gives where nothing came before: ``[T + 1, D]``."""
    return encoder.last(_inner(encoder, table, reading, noise))


def read_at(reading: Reading) -> Tensor:
    """Where each row's state stands in ``steps``: ``Long[B]``."""
    return torch.where(reading.at < 0, len(reading.tokens.item), reading.at)


def _read_alone(reading: Reading) -> tuple[Tensor, Tensor]:
    """The tokens that are read, ascending, and where each row's state stands among theirs, last for nothing."""
    at = reading.at[reading.at >= 0].unique()
    return at, torch.where(reading.at < 0, len(at), torch.searchsorted(at, reading.at))


def _inner(
    encoder: SelfAttention, table: Tensor, reading: Reading, noise: int | None, at: Tensor | None = None
) -> Tensor:
    state = encoder(gather(table, reading.tokens.item), reading.tokens, noise, at)
    return torch.cat([state, state.new_zeros(1, state.shape[1])])
