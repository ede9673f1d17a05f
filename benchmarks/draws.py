"""What exact draws, membership and the shuffle cost: compiled kernel against torch twin, in one run.

    python benchmarks/draws.py shared/data/gowalla/interactions.parquet

One thread, processor time, kernel and twin in turn; the median of the rounds. Users come in the order of a
shuffled epoch, so rows are read from all over memory; "by user" has them sorted.
"""

from __future__ import annotations

import argparse
import statistics
import time

import duckdb
import torch

from negsieve.kernels import native
from negsieve.kernels.draw import (
    Weights,
    draw_even,
    draw_even_reference,
    draw_weighted,
    draw_weighted_reference,
)
from negsieve.kernels.membership import contains, contains_reference
from negsieve.kernels.shuffle import shuffle, shuffle_reference
from negsieve.samplers.aliastable import alias_table
from negsieve.samplers.draw import powered, running
from negsieve.seen import Seen

_BLOCK = 1 << 15  # rows a call


def train(path: str) -> Seen:
    """The training pairs of a Parquet file with user_id, item_id and split."""
    sql = "select user_id, item_id from read_parquet(?) where split = 'train' order by 1, 2"
    pairs = duckdb.execute(sql, [path]).fetchnumpy()
    user, item = (torch.from_numpy(pairs[name]).long() for name in ("user_id", "item_id"))
    return Seen(user, item, n_users=int(user.max()) + 1, n_items=int(item.max()) + 1)


def rates(many: int, *jobs, rounds: int) -> list[float]:
    """Millions of results a processor second of each job, run in turn: the median."""
    spent = [[] for _ in jobs]
    for _ in range(rounds + 1):
        for place, job in enumerate(jobs):
            begin = time.process_time()
            job()
            spent[place].append(time.process_time() - begin)
    return [many / statistics.median(one[1:]) / 1e6 for one in spent]


def main() -> None:
    """Prints a line for every kernel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seen = train(given.file)
    n, rows = len(seen), seen.rows
    weight = powered(seen.popularity(), alpha=0.75)
    weights = Weights(alias_table(weight), weight.cumsum(0), running(weight[seen.item]))
    constants = [1, 2, 3, 4, 5, 6]
    order = shuffle(torch.arange(n), n, constants=constants)
    print(f"{n} pairs, kernels {native.name()}, millions a processor second")

    def say(name: str, many: int, *jobs) -> None:
        found = rates(many, *jobs, rounds=given.rounds)
        print(f"{name:34}" + "".join(f"{one:9.1f}" for one in found) + f"   {found[0] / found[-1]:6.1f}x", flush=True)

    def blocks(draw, user, k, **more):
        def job():
            for at in range(0, len(user), _BLOCK):
                sample = torch.arange(at, min(at + _BLOCK, len(user)))
                draw(7, sample, user=user[at : at + _BLOCK], rows=rows, n=k, **more)

        return job

    for title, user in (("batch order", seen.owner_at(order)), ("by user", seen.owner)):
        for k in (1, 16):
            part = user[: n // k]
            both = [blocks(draw, part, k) for draw in (draw_even, draw_even_reference)]
            say(f"even, K={k}, {title}", len(part) * k, *both)
            both = [blocks(draw, part, k, weights=weights) for draw in (draw_weighted, draw_weighted_reference)]
            say(f"by popularity, K={k}, {title}", len(part) * k, *both)
    user = seen.owner_at(order[:2048])
    item = torch.randint(seen.n_items, (2048, 64), generator=torch.Generator().manual_seed(1))
    for title, asked in (("2048 x 64", item), ("one row of 2048 for 2048", item.reshape(1, -1)[:, :2048])):
        both = [lambda find=find, asked=asked: find(user, asked, rows=rows) for find in (contains, contains_reference)]
        say(f"membership, {title}", 2048 * asked.shape[1], *both)
    both = [lambda run=run: run(torch.arange(1 << 17), n, constants=constants) for run in (shuffle, shuffle_reference)]
    say("shuffle, a block of 131072", 1 << 17, *both)


if __name__ == "__main__":
    main()
