"""Lists equal a slow ranking of every item; what nobody knows is served as stated, and said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import CapabilityError, MissingInput, UsageError
from negsieve.lists import recommend, similar
from negsieve.models.base import Model
from negsieve.models.mf import MF
from negsieve.scorers import Function
from negsieve.store.run import Run
from negsieve.trained import Trained

USERS = ["007", "7", "ünï", "cold", "eager"]
ITEMS = [f"i{number}" for number in range(12)]
# part 0 train, 1 valid, 2 test; "cold" is in test alone, "eager" has all items but two
ROWS = [(0, 1, 0), (0, 3, 0), (0, 5, 1), (0, 7, 2), (1, 1, 0), (1, 3, 0), (2, 1, 0), (3, 0, 2), (2, 3, 2)]
ROWS += [(4, item, 0) for item in range(2, 12)]


def make(*, titles: bool = False, model: Model | None = None, **settings) -> Trained:
    user, item, part = np.array(ROWS).T
    log = Interactions(
        user=user,
        item=item,
        users=Vocabulary(USERS, kind="user"),
        items=Vocabulary(ITEMS, kind="item"),
        titles=[f"Title of {one}" for one in ITEMS] if titles else None,
    )
    model = model or MF(len(USERS), len(ITEMS), dim=4, **settings)
    return Trained(Run(Path("nowhere")), resolve(), Dataset("tiny", log, part.astype(np.int8)), model)


def scores(trained: Trained) -> np.ndarray:
    found = (trained.model.user @ trained.model.item.T).detach().numpy()
    found[3] = trained.dataset.train.popularity().numpy()  # the cold user
    return found


def by_hand(trained: Trained, user: int, k: int, *, exclude_seen: bool) -> list[tuple[str, float]]:
    mine = {item for who, item, _ in ROWS if who == user} if exclude_seen else set()
    line = scores(trained)[user]
    order = sorted((item for item in range(len(ITEMS)) if item not in mine), key=lambda item: (-line[item], item))
    return [(ITEMS[item], float(line[item])) for item in order[:k]]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 3, 12, 99])
def test_recommend_equals_a_slow_ranking(exclude_seen, k):
    trained = make()
    table = recommend(trained, k=k, exclude_seen=exclude_seen).to_pylist()
    for number, user in enumerate(USERS):
        wanted = by_hand(trained, number, k, exclude_seen=exclude_seen)
        rows = [row for row in table if row["user_id"] == user]
        assert [row["item_id"] for row in rows] == [item for item, _ in wanted]
        assert [row["score"] for row in rows] == pytest.approx([score for _, score in wanted], abs=1e-6)
        assert [row["rank"] for row in rows] == list(range(1, len(wanted) + 1))
        assert {row["by"] for row in rows} == {"popularity" if user == "cold" else "model"}
    assert [row["user_id"] for row in table] == sorted((row["user_id"] for row in table), key=USERS.index)


def test_seen_items_of_every_part_are_left_out():
    given = recommend(make(), ["007"], k=99)["item_id"].to_pylist()
    assert sorted(set(ITEMS) - set(given)) == ["i1", "i3", "i5", "i7"]


def test_users_come_in_the_order_asked_for_under_their_own_spelling():
    table = recommend(make(), ["7", "ünï", "007", "7"], k=2)
    assert table["user_id"].to_pylist() == ["7", "7", "ünï", "ünï", "007", "007", "7", "7"]
    assert table.num_rows == 8 and "title" not in table.column_names


def test_one_id_may_be_given_alone():
    assert recommend(make(), "007", k=2).equals(recommend(make(), ["007"], k=2))
    assert similar(make(), "i3", k=2).equals(similar(make(), ["i3"], k=2))


def test_nobody_asked_for_is_an_empty_table_with_the_same_columns():
    assert recommend(make(), [], k=2).schema == recommend(make(), k=2).schema
    assert recommend(make(), [], k=2).num_rows == 0


def test_equal_scores_rank_in_the_order_of_the_catalogue():
    flat = MF(len(USERS), len(ITEMS), dim=4)
    with torch.no_grad():
        flat.item.zero_()
    table = recommend(make(model=flat), ["7"], k=4)
    assert table["item_id"].to_pylist() == ["i0", "i2", "i4", "i5"]


def test_who_has_few_items_left_gets_what_is_left():
    table = recommend(make(), ["eager", "7"], k=5).to_pylist()
    assert sorted(row["item_id"] for row in table if row["user_id"] == "eager") == ["i0", "i1"]
    assert sum(row["user_id"] == "7" for row in table) == 5


def test_titles_stand_beside_their_items():
    for row in recommend(make(titles=True), k=3).to_pylist():
        assert row["title"] == f"Title of {row['item_id']}"
    for row in similar(make(titles=True), ["i2"], k=3).to_pylist():
        assert row["title"] == f"Title of {row['similar_id']}"


def test_unknown_ids_are_named_with_the_nearest():
    with pytest.raises(MissingInput, match=r"no user has the id 'eagr' among 5 known\. Did you mean 'eager'"):
        recommend(make(), ["007", "eagr"])
    with pytest.raises(MissingInput, match="no item has the id 'zzz' among 12 known"):
        similar(make(), ["i3", "zzz"])
    for call in (lambda: recommend(make(), k=0), lambda: similar(make(), ["i3"], k=0)):
        with pytest.raises(UsageError, match="k=0, wanted 1 or more"):
            call()


@pytest.mark.parametrize("settings", [{}, {"similarity": "cosine", "temperature": 0.1}])
def test_similar_equals_a_slow_cosine_without_the_item_itself(settings):
    trained = make(**settings)
    vector = trained.model.item.detach().double().numpy()
    unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    table = similar(trained, ["i9", "i0"], k=50).to_pylist()
    assert [row["item_id"] for row in table] == ["i9"] * 11 + ["i0"] * 11
    for item in ("i9", "i0"):
        number = ITEMS.index(item)
        cosine = unit @ unit[number]
        order = sorted((one for one in range(len(ITEMS)) if one != number), key=lambda one: -cosine[one])
        rows = [row for row in table if row["item_id"] == item]
        assert [row["similar_id"] for row in rows] == [ITEMS[one] for one in order]
        assert [row["score"] for row in rows] == pytest.approx(cosine[order].tolist(), abs=1e-5)
        assert [row["rank"] for row in rows] == list(range(1, 12))


def test_a_model_without_item_vectors_has_nothing_similar_but_recommends():
    class Opaque(Model):
        def encode(self, batch):
            raise NotImplementedError

        penalty = encode

        def frozen(self):
            return lambda batch: Function(lambda item: item.expand(len(batch), -1).float())

    trained = make(model=Opaque())
    assert recommend(trained, ["7"], k=2)["item_id"].to_pylist() == ["i11", "i10"]
    with pytest.raises(CapabilityError, match="no vector for each item"):
        similar(trained, ["i3"])


def test_a_run_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingInput, match="looked for a run directory"):
        recommend(tmp_path / "gone")
