"""Synthetic logs as real ones are: few items and few users have most of the pairs. Made in blocks of users.

A user draws ``1 + 69 * d`` items, d Pareto of mean 1, of which about 50 are distinct; an item's chance falls
with its rank to the power of -0.8. Planted taste: users and items have one of ``groups`` kinds, and half of a
user's pairs are of the own kind, so that there is something to learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PER_USER, TAIL, FALL = 70, 2.5, 0.8


def blocks(n_users: int, n_items: int, *, seed: int = 0, groups: int = 20, size: int = 50_000) -> Iterator[np.ndarray]:
    """Distinct pairs ``int64[n, 2]`` of ``size`` users at a time, users ascending; about 50 pairs a user.

    Peak memory is one block's and the items' weights.
    """
    reach = np.cumsum(np.arange(1, n_items + 1, dtype=float) ** -FALL)
    kind = np.arange(n_items) % groups
    own = [np.flatnonzero(kind == group) for group in range(groups)]
    own_reach = [np.cumsum((1.0 + items) ** -FALL) for items in own]
    for first in range(0, n_users, size):
        rng = np.random.default_rng([seed, first])
        users = np.arange(first, min(first + size, n_users))
        degree = 1 + (rng.pareto(TAIL, len(users)) * (TAIL - 1) * (PER_USER - 1)).astype(np.int64)
        user = np.repeat(users, np.minimum(degree, n_items // 4))
        item = np.searchsorted(reach, rng.random(len(user)) * reach[-1])
        tasteful = rng.random(len(user)) < 0.5
        for group in range(groups):
            place = np.flatnonzero(tasteful & (user % groups == group))
            drawn = np.searchsorted(own_reach[group], rng.random(len(place)) * own_reach[group][-1])
            item[place] = own[group][drawn]
        key = np.unique(user * n_items + item)
        yield np.stack([key // n_items, key % n_items], 1)


def write(path: Path, n_users: int, n_items: int, *, seed: int = 0) -> int:
    """The pairs as Parquet with a given split, one pair in a hundred held out; returns how many there are."""
    schema = pa.schema([("user_id", pa.int32()), ("item_id", pa.int32()), ("split", pa.string())])
    total = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for number, pairs in enumerate(blocks(n_users, n_items, seed=seed)):
            held = np.random.default_rng([seed, number, 1]).random(len(pairs)) < 0.01
            part = pa.array(np.where(held, "test", "train"), pa.string())
            columns = [pa.array(side.astype(np.int32)) for side in pairs.T]
            out.write_table(pa.Table.from_arrays([*columns, part], schema=schema))
            total += len(pairs)
    return total
