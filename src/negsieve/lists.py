"""From a finished run to lists: the best items for users, and the items most like an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from negsieve import arrow
from negsieve.data.dataset import PARTS
from negsieve.errors import CapabilityError, UsageError
from negsieve.evaluation.fallback import ServeCold, knowing
from negsieve.evaluation.rank import TopK, top_k
from negsieve.scorers import Dot, HistoryEncoder, Towers
from negsieve.seen import Seen
from negsieve.trained import Trained, open_trained
from negsieve.types import Batch


def recommend(
    run: str | Path | Trained,
    users: Sequence[str] | None = None,
    *,
    k: int = 20,
    exclude_seen: bool = True,
) -> pa.Table:
    """The k best items for each user, best first.

    users         external ids; all users of the data set when None
    exclude_seen  leave out every item that the user has in the log, in whichever part

    A model that reads histories reads all that the log holds of a user, in whichever part: the list is what may
    come next.

    Returns a table with ``user_id, rank`` (from 1)``, item_id, score, by`` and ``title`` where the
    data has titles. ``by`` is "model", or "popularity" for users without a train interaction, whom
    no model of ids knows. A user with fewer than k items left gets what is left. Equal scores rank
    in the order of the catalogue. Raises MissingInput naming an unknown user, UsageError for k < 1.

    Cost: one pass over all items a user, in chunks; memory is bounded.
    """
    trained = run if isinstance(run, Trained) else open_trained(run)
    dataset = trained.dataset
    if k < 1:
        raise UsageError(f"k={k}, wanted 1 or more")
    numbers = np.arange(dataset.n_users) if users is None else dataset.users.numbers(listed(users))
    user = torch.from_numpy(numbers)
    mask = (dataset.had(),) if exclude_seen else ()
    encoder = ServeCold(knowing(trained.model.frozen(), dataset, *PARTS), dataset)
    lists = top_k(encoder, user, min(k, dataset.n_items), mask=mask, n_items=dataset.n_items)
    cold = dataset.cold_users[user]
    names = [dataset.users[int(number)] for number in numbers]
    by = np.where(cold.numpy(), "popularity", "model")
    return _table(lists, trained, {"user_id": names}, {"by": by})


def similar(run: str | Path | Trained, items: Sequence[str], *, k: int = 20) -> pa.Table:
    """The k items whose vectors have the largest cosine with an item's, itself left out.

    Returns a table with ``item_id, rank, similar_id, score`` and ``title`` (of the similar one)
    where the data has titles. Raises MissingInput naming an unknown item, CapabilityError for a
    model without item vectors.
    """
    trained = run if isinstance(run, Trained) else open_trained(run)
    dataset = trained.dataset
    if k < 1:
        raise UsageError(f"k={k}, wanted 1 or more")
    table = _vectors(trained).item
    items = listed(items)
    number = torch.from_numpy(dataset.items.numbers(items))

    def encoder(batch: Batch) -> Dot:
        return Dot(table[number[batch.user]], table, cosine=True)

    place = torch.arange(len(number))
    itself = Seen(place, number, n_users=len(number), n_items=dataset.n_items, part="itself")
    lists = top_k(encoder, place, min(k, dataset.n_items), mask=(itself,), n_items=dataset.n_items)
    return _table(lists, trained, {"item_id": [str(one) for one in items]}, {}, column="similar_id")


def listed(ids: str | Sequence[str]) -> Sequence[str]:
    """One id as a list of one: its letters are no ids."""
    return [ids] if isinstance(ids, str) else ids


def towers(trained: Trained) -> Towers:
    """The user and item tables of a run's model. Raises CapabilityError for a model without them.

    A model that reads histories encodes every user, from all that the log holds.
    """
    encoder = _vectors(trained)
    if isinstance(encoder, HistoryEncoder):
        encoder = knowing(encoder, trained.dataset, *PARTS).towers()
    return encoder


def _vectors(trained: Trained) -> Towers | HistoryEncoder:
    encoder = trained.model.frozen()
    if not isinstance(encoder, Towers | HistoryEncoder):
        raise CapabilityError(f"{trained.config.model}: this model keeps no vector for each item")
    return encoder


def _table(
    lists: TopK, trained: Trained, left: dict[str, list], right: dict[str, np.ndarray], *, column: str = "item_id"
) -> pa.Table:
    """A long table: one row a list entry, padding dropped."""
    item, score = lists.item.cpu().numpy(), lists.score.cpu().numpy()
    row, place = np.nonzero(item >= 0)
    number = item[row, place]
    columns: dict[str, pa.Array] = {}
    for name, values in left.items():
        columns[name] = arrow.texts(values).take(arrow.numbers(row))
    columns["rank"] = arrow.numbers((place + 1).astype(np.int32))
    columns[column] = arrow.texts(trained.dataset.items).take(arrow.numbers(number))
    columns["score"] = arrow.numbers(score[row, place].astype(np.float32, copy=False))
    for name, values in right.items():
        columns[name] = arrow.column(values[row])
    if trained.dataset.titles is not None:
        columns["title"] = arrow.texts(trained.dataset.titles).take(arrow.numbers(number))
    return pa.table(columns)
