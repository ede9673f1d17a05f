"""Exported vectors: their plain dot product is the model's score, and their ids are the exact ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import CannotCreate, CapabilityError, UsageError
from negsieve.models.base import Model
from negsieve.models.lightgcn import LightGCN
from negsieve.models.mf import MF
from negsieve.store.run import Run
from negsieve.trained import Trained
from negsieve.types import Batch
from negsieve.vectors import export

USERS = ["007", "7", "18446744073709551617", "cold\u2028user"]
ITEMS = ["\u00fc", "u\u0308", 'quo"te', "back\\slash", " space ", "🦊", "line\nbreak"]


def make(model: Model | None = None, **settings) -> Trained:
    user, item, part = np.array([(0, 0, 0), (0, 1, 0), (1, 2, 0), (2, 3, 0), (2, 4, 1), (3, 0, 2), (1, 5, 0)]).T
    log = Interactions(user=user, item=item, users=Vocabulary(USERS, kind="user"), items=Vocabulary(ITEMS, kind="item"))
    dataset = Dataset("tiny", log, part.astype(np.int8))
    model = model or MF(len(USERS), len(ITEMS), dim=3, **settings)
    return Trained(Run(Path("runs/one")), resolve({"model": "mf:dim=3"}), dataset, model)


def scores(trained: Trained) -> np.ndarray:
    with torch.no_grad():
        return trained.model.frozen()(Batch(torch.arange(len(USERS)))).all().numpy()


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.5}, {"similarity": "cosine"}, {"similarity": "cosine", "temperature": 0.07}]
)
def test_dot_products_are_the_models_scores(tmp_path, format, settings):
    trained = make(**settings)
    folder = export(trained, tmp_path / "out", format=format)
    if format == "npy":
        user, item = (np.load(folder / f"{side}.npy", allow_pickle=False) for side in ("users", "items"))
    else:
        user, item = (
            np.array(pq.read_table(folder / f"{side}.parquet")["vector"].to_pylist(), dtype=np.float32)
            for side in ("users", "items")
        )
    assert user.dtype == item.dtype == np.float32 and user.shape == (4, 3) and item.shape == (7, 3)
    np.testing.assert_allclose(user @ item.T, scores(trained), rtol=1e-5, atol=1e-6)


def test_graph_models_export_what_they_score_with(tmp_path):
    bare = make()
    trained = make(LightGCN(len(USERS), len(ITEMS), train=bare.dataset.train, dim=3, layers=2))
    folder = export(trained, tmp_path / "out", format="npy")
    user, item = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    np.testing.assert_allclose(user @ item.T, scores(trained), rtol=1e-5, atol=1e-6)


def test_parquet_holds_exact_ids_and_who_is_known(tmp_path):
    folder = export(make(), tmp_path / "out")
    users, items = (pq.read_table(folder / f"{side}.parquet") for side in ("users", "items"))
    assert users["id"].to_pylist() == USERS and items["id"].to_pylist() == ITEMS
    assert users["known"].to_pylist() == [True, True, True, False]
    assert items["known"].to_pylist() == [True, True, True, True, False, True, False]
    assert sorted(one.name for one in folder.iterdir()) == ["about.json", "items.parquet", "users.parquet"]


def test_npy_ids_are_json_a_line(tmp_path):
    folder = export(make(), tmp_path / "out", format="npy")
    for side, ids in (("users", USERS), ("items", ITEMS)):
        lines = (folder / f"{side}.txt").read_text(encoding="utf-8").split("\n")
        assert lines.pop() == "" and [json.loads(line) for line in lines] == ids
    about = json.loads((folder / "about.json").read_text())
    assert about["unknown_users"] == [USERS[3]] and about["unknown_items"] == [ITEMS[4], ITEMS[6]]


def test_about_says_what_the_vectors_are(tmp_path):
    trained = make()
    about = json.loads((export(trained, tmp_path / "out") / "about.json").read_text())
    assert about == {
        "run": "one",
        "model": "mf:dim=3",
        "similarity": "dot",
        "dim": 3,
        "data_hash": trained.dataset.hash,
        "users": 4,
        "items": 7,
    }


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_left_alone(tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir() if kind == "folder" else out.write_text("mine")
    with pytest.raises(CannotCreate, match="exists already"):
        export(make(), out)
    assert list(tmp_path.iterdir()) == [out]


def test_other_formats_and_models_without_vectors_are_refused(tmp_path):
    with pytest.raises(UsageError, match="format 'csv', wanted parquet or npy"):
        export(make(), tmp_path / "out", format="csv")

    class Opaque(Model):
        def encode(self, batch):
            raise NotImplementedError

        penalty = encode

        def frozen(self):
            return lambda batch: None

    with pytest.raises(CapabilityError, match="no vector for each item"):
        export(make(Opaque()), tmp_path / "out")
    assert not list(tmp_path.iterdir())
