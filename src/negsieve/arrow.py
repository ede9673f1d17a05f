"""Arrow columns from arrays and texts, and back, by their memory.

pyarrow's own ``pa.array``, ``to_numpy`` and ``read_table`` import pandas wherever it is installed, to ask whether what
they are given is of pandas: 35 MB of a process that never uses it, and as long as a small log takes to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def column(values: np.ndarray | Sequence | pa.Array) -> pa.Array:
    """An array of numbers or a list of texts as a column; an Arrow column as it is; the rest as pyarrow takes it."""
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind != "U":
        return numbers(values)
    values = list(values)
    return texts(values) if all(one is None or isinstance(one, str) for one in values) else pa.array(values)


def numbers(values: np.ndarray) -> pa.Array:
    """``int*`` or ``float*[n]`` as a column that shares its memory, NaN no gap; other types as pyarrow takes them."""
    if values.dtype.kind not in "iuf":
        return pa.array(values)
    memory = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, memory])


def texts(values: Sequence[str | None], kind: pa.DataType | None = None) -> pa.Array:
    """n texts or None as a column of ``kind``: ``pa.string()``, which holds 2 GB at most, or ``pa.large_string()``."""
    kind = kind or pa.string()
    raw = [None if one is None else one.encode() for one in values]
    offset = np.zeros(len(raw) + 1, dtype=np.int64)
    np.cumsum([0 if one is None else len(one) for one in raw], out=offset[1:])
    if not pa.types.is_large_string(kind):
        if offset[-1] > np.iinfo(np.int32).max:
            raise ValueError(f"{offset[-1]} bytes of text, wanted at most 2^31 - 1 in a column of {kind}")
        offset = offset.astype(np.int32)
    known = None
    if None in raw:
        known = pa.py_buffer(np.packbits([one is not None for one in raw], bitorder="little"))
    memory = pa.py_buffer(b"".join(one for one in raw if one is not None))
    return pa.Array.from_buffers(kind, len(raw), [known, pa.py_buffer(offset), memory])


def array(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of numbers without gaps as an array of its own."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    empty = np.empty(0, dtype=values.type.to_pandas_dtype())
    return np.concatenate([empty, *(np.from_dlpack(chunk) for chunk in chunks)])


def read_parquet(file: Path) -> pa.Table:
    """The whole of a Parquet file, its page checksums verified. Raises what pyarrow raises where it is damaged."""
    with pq.ParquetFile(file, page_checksum_verification=True, memory_map=False) as opened:
        return opened.read()
