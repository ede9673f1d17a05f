"""Vectors out, with the ids that they belong to: for a nearest-neighbour index or another model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from negsieve import arrow
from negsieve.errors import CannotCreate, UsageError
from negsieve.lists import towers
from negsieve.store.atomic import json_text, whole_folder
from negsieve.trained import Trained, open_trained


def export(run: str | Path | Trained, out: str | Path, *, format: str = "parquet") -> Path:
    """Writes the user and item vectors of a run into the new folder ``out``.

    ``parquet``: ``users.parquet`` and ``items.parquet`` with ``id`` and ``vector`` (fixed-size list
    of float32). ``npy``: ``users.npy``, ``items.npy`` ``float32[n, D]`` beside ``users.txt``,
    ``items.txt``, an id a line as a JSON string. Either way ``about.json`` states the run, the
    width and the similarity. Vectors are stored so that **the plain dot product of a user's and an
    item's vector is the model's score**: cosine models are normalised and carry the temperature.
    Users without a train interaction are marked by ``known`` = false (parquet) or listed in
    ``about.json``.

    Raises CannotCreate when ``out`` exists, CapabilityError for a model without vectors.
    """
    trained = run if isinstance(run, Trained) else open_trained(run)
    out = Path(out)
    if format not in ("parquet", "npy"):
        raise UsageError(f"format {format!r}, wanted parquet or npy")
    if out.exists():
        raise CannotCreate(f"{out}: exists already; name a new folder")
    encoder, dataset = towers(trained), trained.dataset
    sides = {
        "users": (dataset.users, scaled(encoder.user, encoder.cosine, encoder.temperature), ~dataset.cold_users),
        "items": (dataset.items, scaled(encoder.item, encoder.cosine, 1.0), ~dataset.cold_items),
    }
    about = {
        "run": trained.run.path.name,
        "model": trained.config.model,
        "similarity": "dot",
        "dim": encoder.item.shape[1],
        "data_hash": dataset.hash,
    }
    with whole_folder(out) as folder:
        for side, (ids, vectors, known) in sides.items():
            about[side] = len(ids)
            if format == "npy":
                np.save(folder / f"{side}.npy", vectors, allow_pickle=False)
                lines = "".join(json_text(one) + "\n" for one in ids)
                (folder / f"{side}.txt").write_text(lines, encoding="utf-8")
                about[f"unknown_{side}"] = [
                    one for one, known_one in zip(ids, known.tolist(), strict=True) if not known_one
                ]
            else:
                flat = arrow.numbers(vectors.reshape(-1))
                table = {
                    "id": arrow.texts(ids),
                    "known": arrow.numbers(known.numpy()),
                    "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                }
                pq.write_table(pa.table(table), folder / f"{side}.parquet", write_page_checksum=True)
        (folder / "about.json").write_text(json_text(about, indent=2) + "\n", encoding="utf-8")
    return out


def scaled(table: torch.Tensor, cosine: bool, temperature: float) -> np.ndarray:
    """The table as ``float32[n, D]`` such that plain dot products are scores."""
    if cosine:
        table = torch.nn.functional.normalize(table, dim=-1)
    return (table / temperature).float().cpu().numpy()
