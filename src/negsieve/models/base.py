"""What a model owes the rest: a scorer for a batch, an L2 penalty, and a frozen encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from negsieve.errors import UsageError
from negsieve.kernels.norms import squared_norms
from negsieve.rng import streams
from negsieve.scorers import Encoder, Scorer
from negsieve.types import Batch, Groups, Negatives

_KEPT = 32  # negatives of a row that get a vector each, at most: methods that draw more choose among them


class Model(nn.Module, ABC):
    """A recommender with ``n_users`` users and ``n_items`` items, both numbered from 0.

    ``dim`` is the width of the vectors that its scorer shows, for samplers with gates of their own.
    ``noisy`` says whether a forward pass may depend on ``Batch.noise``: one that does not is never done
    twice for a sampler that chooses without noise. What a noisy model's scorer shows without gradient
    (``vectors``) must still carry gradients of its parameters where they are asked for.
    """

    n_users: int
    n_items: int
    dim: int
    noisy: bool = True

    @abstractmethod
    def encode(self, batch: Batch) -> Scorer:
        """One forward pass for one batch, with gradients."""

    @abstractmethod
    def penalty(self, batch: Batch, negatives: Negatives) -> Tensor:
        """Half the squared norm of the layer-0 rows that a row used, ``Float[B]``.

        Negatives count by their mean, so that the penalty does not grow with K.
        """

    @abstractmethod
    def frozen(self) -> Encoder:
        """An encoder without gradients whose shared work (propagation) is already done."""

    def starts(self) -> dict[str, str]:
        """What may start from another run's weights: part -> the prefix of its tensors' names. "model" is all of it."""
        return {"model": ""}

    def step_bytes(self, rows: int, drawn: int) -> int:
        """About what a step of so many rows takes beside tables, gradients and optimiser.

        Ids and scores of all that is ``drawn`` for a row; vectors of the pair and of the few that are kept.
        """
        return rows * (24 * drawn + 12 * self.dim * (2 + min(drawn, _KEPT)))

    def groups(self) -> Groups | None:
        """The train rows that share a forward pass and so are visited together; None: each row stands alone.

        Rows in no group are not trained on.
        """


def row_penalty(user: Tensor, item: Tensor, batch: Batch, negatives: Negatives) -> Tensor:
    """``(|u|^2 + |i|^2 + mean_k |j_k|^2) / 2`` on the layer-0 tables ``user`` and ``item``: ``Float[B]``.

    Filtered negatives count nothing, nor does a draw of none; weighted ones count by weight, normalised.
    This is the convention of LightGCN and MixGCF for K = 1.
    """
    return (squared_norms(user, batch.user) + _item_norms(item, batch, negatives)) / 2


def item_penalty(item: Tensor, batch: Batch, negatives: Negatives) -> Tensor:
    """``row_penalty`` without the user's part, for models whose users have no table: ``Float[B]``."""
    return _item_norms(item, batch, negatives) / 2


def _item_norms(item: Tensor, batch: Batch, negatives: Negatives) -> Tensor:
    """The positive's squared norm and the mean of the negatives', ``Float[B]``; 0 for none of these."""
    if negatives.ego is not None:
        own, norm = squared_norms(item, batch.item), negatives.ego.square().sum(-1)  # [B], [B|1, K]
    else:  # both at once, so that one gradient of the table is made instead of two
        rows = torch.cat([batch.item, negatives.item.reshape(-1)])
        own, norm = squared_norms(item, rows).split([len(batch), negatives.item.numel()])
        norm = norm.view(negatives.item.shape)
    share = penalty_shares(negatives, norm.dtype)
    if norm.shape[1] == 0:
        return own
    if share is None:
        return own + norm.mean(-1)
    return own + (norm * share).sum(-1) / share.sum(-1).clamp_min(1e-12)


def penalty_shares(negatives: Negatives, dtype: torch.dtype) -> Tensor | None:
    """What each negative counts in a penalty, ``Float[B, K]``, before a row's are divided by their sum; None: alike."""
    if negatives.weight is not None:
        return negatives.weight if negatives.keep is None else negatives.weight * negatives.keep
    return None if negatives.keep is None else negatives.keep.to(dtype)


def start_tables(n_users: int, n_items: int, *, dim: int, init: str, std: float, seed: int):
    """Two fresh parameters ``[U, D]`` and ``[I, D]`` from the "init" stream of ``seed``."""
    if dim < 1 or not std > 0:
        raise UsageError(f"dim={dim}, init_std={std}: wanted a width of 1 or more and a deviation above 0")
    rng = streams("init", seed=seed)
    tables = [torch.empty(n, dim) for n in (n_users, n_items)]
    for table in tables:
        if init == "normal":
            nn.init.normal_(table, std=std, generator=rng)
        elif init == "xavier_uniform":
            nn.init.xavier_uniform_(table, generator=rng)
        else:
            raise UsageError(f"init={init!r}, wanted 'normal' or 'xavier_uniform'")
    return nn.Parameter(tables[0]), nn.Parameter(tables[1])


def check_temperature(value: float) -> float:
    """``value`` if it can divide a score. Raises UsageError otherwise."""
    if not value > 0:
        raise UsageError(f"temperature={value}, wanted a number above 0")
    return value


def similarity_is_cosine(name: str) -> bool:
    """Whether ``similarity`` means the cosine. Raises UsageError for anything but dot and cosine."""
    if name not in ("dot", "cosine"):
        raise UsageError(f"similarity={name!r}, wanted 'dot' or 'cosine'")
    return name == "cosine"


def one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """``value`` if it is one of ``choices``. Raises UsageError otherwise."""
    if value not in choices:
        raise UsageError(f"{name}={value!r}, wanted {' or '.join(map(repr, choices))}")
    return value
