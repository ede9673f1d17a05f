"""The items that sampled evaluation ranks: drawn once for a run, saved in it, reused ever after."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from negsieve.arrow import array, numbers
from negsieve.evaluation.evaluator import Evaluator
from negsieve.store.run import Run
from negsieve.store.table import read_table, write_table

PARTS = ("valid", "test")
_SEED = 42  # that of files without one in their name


def kept(run: Run, n_negatives: int, *, seed: int = _SEED) -> dict[str, dict[str, np.ndarray]]:
    """What the run holds, by part, as ``Evaluator(candidates=...)`` wants it; nothing where none was saved.

    Raises DataError naming a damaged file. Whether they fit the data is the evaluator's to check.
    """
    found = {}
    for part in PARTS:
        path = _path(run, part, n_negatives, seed)
        if path.is_file():
            table = read_table(path)
            column = {name: table[name].combine_chunks() for name in table.column_names}
            found[part] = {
                "user": array(column["user"]),
                "item": array(column["item"]),
                "negatives": array(column["negatives"].flatten()).reshape(len(table), n_negatives),
                "seed": array(column["seed"])[:1].reshape(()) if len(table) else np.asarray(0),
            }
    return found


def keep(run: Run, evaluator: Evaluator, *, parts: Iterable[str], n_negatives: int, seed: int = _SEED) -> None:
    """Saves what ``evaluator`` ranked on ``parts``, where it is not saved yet: ``8 * n`` bytes a held-out pair."""
    for part in parts:
        path = _path(run, part, n_negatives, seed)
        if not path.is_file():
            drawn = evaluator.candidates(part)
            negatives = pa.FixedSizeListArray.from_arrays(numbers(drawn["negatives"].reshape(-1)), n_negatives)
            columns = {"user": drawn["user"], "item": drawn["item"], "negatives": negatives}
            write_table(path, columns | {"seed": np.full(len(drawn["user"]), int(drawn["seed"]))})


def _path(run: Run, part: str, n_negatives: int, seed: int) -> Path:
    return run.path / f"candidates-{part}-{n_negatives}{'' if seed == _SEED else f'-seed{seed}'}.parquet"
