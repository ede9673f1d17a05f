"""Parts that are quicker together: even draws and the choice of the hardest, without candidates between.

The negatives are those of the parts one after the other, to the bit, because both ways draw by the same keys,
rate by the same sums and settle ties by the same rule.
"""

from __future__ import annotations

import torch

from negsieve.kernels import score
from negsieve.kernels.counter import draw_key
from negsieve.kernels.hardest import hardest
from negsieve.samplers.base import Sampler
from negsieve.samplers.draw import Weighted
from negsieve.scorers import Dot, Scorer
from negsieve.types import Batch, Negatives


def hardest_unseen(source: Sampler, m: int, batch: Batch, scorer: Scorer, rng: torch.Generator) -> Negatives | None:
    """The ``m`` hardest of a source's draws, hardest first; None where that is nothing for a compiled kernel.

    It is something for one where the source draws evenly from what the user has not seen, and the scorer is a
    single-precision ``Dot`` on the CPU.
    """
    if not (isinstance(source, Weighted) and source.line.even and source.exclude == "train"):
        return None
    if type(scorer) is not Dot or m > source.n_negatives or len(scorer.table) != source.n_items:
        return None
    if not score.serves(scorer.query_side, scorer.table, batch.user):
        return None
    item = hardest(
        draw_key(rng),
        batch.number,
        user=batch.user,
        query=scorer.query_side,
        table=scorer.table,
        rows=source.seen.rows,
        candidates=source.n_negatives,
        m=m,
        cosine=scorer.cosine,
    )
    return source.known_of(batch, item)
