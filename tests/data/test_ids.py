"""Ids go in and out with the same spelling, whatever form the log has."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from negsieve.data.read import read
from negsieve.errors import DataError


def ids(log):
    return [(log.users[u], log.items[i]) for u, i in zip(log.user, log.item, strict=True)]


def written(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


ID = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(ID, ID), min_size=1, max_size=20, unique=True),
    st.sampled_from(["csv", "tsv", "jsonl", "parquet"]),
)
def test_ids_go_in_and_out_unchanged(pairs, kind):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"log.{kind}"
        _write(file, kind, pairs)
        log = read(file)
    assert ids(log) == pairs
    assert list(log.users) == list(dict.fromkeys(user for user, _ in pairs))
    assert list(log.items) == list(dict.fromkeys(item for _, item in pairs))


def _write(file: Path, kind: str, pairs) -> None:
    if kind == "parquet":
        pq.write_table(pa.table({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]}), file)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps({"user_id": u, "item_id": i}) + "\n" for u, i in pairs))
    else:
        with file.open("w", newline="", encoding="utf-8") as opened:
            table = csv.writer(
                opened, delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL, lineterminator="\n"
            )
            table.writerows([("user_id", "item_id"), *pairs])


@pytest.mark.parametrize(
    "spelling",
    [
        "007",
        "18446744073709551617",
        "9007199254740993",
        "1e5",
        "a b",
        "é",
        "e\u0301",
        "שלום",
        "👩‍👩‍👧",
        "NULL",
        "nan",
        "-0",
    ],
)
def test_awkward_ids_in_every_form(tmp_path, spelling):
    text = f"user_id,item_id\n{spelling},{spelling}\nother,{spelling}\n"
    sources = [
        written(tmp_path, text),
        written(tmp_path, gzip.compress(text.encode()), "log.csv.gz"),
        pd.DataFrame({"user": [spelling, "other"], "item": [spelling] * 2}),
        pl.DataFrame({"user": [spelling, "other"], "item": [spelling] * 2}),
        pa.table({"user": [spelling, "other"], "item": pa.array([spelling] * 2).dictionary_encode()}),
    ]
    for source in sources:
        assert ids(read(source)) == [(spelling, spelling), ("other", spelling)]


def test_composed_and_decomposed_letters_are_two_ids(tmp_path):
    log = read(written(tmp_path, "user,item\n\u00e9,1\ne\u0301,1\n"))
    assert list(log.users) == ["\u00e9", "e\u0301"]


def test_whole_number_columns_are_exact_and_float_ids_are_refused(tmp_path):
    big = 2**63 + 1
    frame = pd.DataFrame({"user": np.array([big, 7], dtype=np.uint64), "item": [2**53 + 1, 1]})
    assert ids(read(frame)) == [(str(big), str(2**53 + 1)), ("7", "1")]
    mixed = pd.DataFrame({"user": [2**70, "x"], "item": [1, 2]})
    assert ids(read(mixed)) == [(str(2**70), "1"), ("x", "2")]
    with pytest.raises(DataError, match="wanted text or whole numbers; cast it first"):
        read(pd.DataFrame({"user": [1.0, 2.0], "item": [1, 2]}))
    with pytest.raises(DataError, match="wanted text or whole numbers"):
        read(pd.DataFrame({"user": [1, (2, 3)], "item": [1, 2]}, dtype=object))


def test_nothing_in_a_typed_column_is_refused_with_its_row(tmp_path):
    file = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": ["a", None, "c"], "item": [1, 2, 3]}), file)
    with pytest.raises(DataError) as caught:
        read(file)
    assert (caught.value.row, caught.value.column) == (2, "user")
    with pytest.raises(DataError, match="found 'nan'"):
        read(pd.DataFrame({"user": ["a"], "item": ["b"], "rating": [float("nan")]}))
