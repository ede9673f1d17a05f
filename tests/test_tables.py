"""Tables keep ids as they are, whatever spreadsheet opens them, and are whole or absent."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negsieve.errors import NegsieveError, UsageError
from negsieve.tables import as_text, write_table

TABLE = pa.table(
    {
        "user_id": ["007", "=1+1", "-3", 'a"b,c', "line\nbreak", "@x", "ü🦊"],
        "rank": pa.array([1, 2, 3, 4, 5, 6, 7], pa.int32()),
        "score": pa.array([0.5, -1.25, 0.0, 3.0, 1e-8, -7.0, 2.0], pa.float32()),
        "title": ["=cmd()", "+1", "-1", "@sum", "\tx", None, "plain = fine"],
    }
)


def test_csv_disarms_titles_and_leaves_ids_alone(tmp_path):
    path = write_table(TABLE, tmp_path / "lists.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["user_id"] for row in rows] == TABLE["user_id"].to_pylist()
    assert [row["title"] for row in rows] == ["'=cmd()", "'+1", "'-1", "'@sum", "'\tx", "", "plain = fine"]
    assert [float(row["score"]) for row in rows] == TABLE["score"].to_pylist()
    assert b"\r\n" not in path.read_bytes()


@pytest.mark.parametrize("name", ["lists.jsonl", "lists.json", "lists.ndjson", "LISTS.JSONL"])
def test_json_lines_hold_one_object_a_line(tmp_path, name):
    text = write_table(TABLE, tmp_path / name).read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == TABLE.to_pylist()
    assert "🦊" in text


def test_parquet_keeps_types_and_has_checksums(tmp_path):
    path = write_table(TABLE, tmp_path / "lists.parquet")
    assert pq.read_table(path, page_checksum_verification=True).equals(TABLE)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"checksum|CRC|crc"):
        pq.read_table(path, page_checksum_verification=True)


def test_the_ending_decides_unless_a_format_is_given(tmp_path):
    path = write_table(TABLE, tmp_path / "lists.txt", format="csv")
    assert path.read_text(encoding="utf-8").startswith("user_id,rank,score,title\n")


@pytest.mark.parametrize("name", ["lists.xlsx", "lists", "lists.csv.gz"])
def test_unknown_endings_are_refused_with_what_is_known(tmp_path, name):
    with pytest.raises(UsageError, match="wanted one of csv, parquet, jsonl"):
        write_table(TABLE, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_leaves_nothing(tmp_path):
    with pytest.raises(NegsieveError, match="gone"):
        write_table(TABLE, tmp_path / "gone" / "lists.csv")


def test_an_existing_file_stays_whole_when_writing_fails(tmp_path):
    path = tmp_path / "lists.jsonl"
    write_table(TABLE, path)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_table(pa.table({"score": [float("nan")]}), path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["lists.jsonl"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")), min_size=1))
def test_ids_come_back_from_csv_as_they_went(ids):
    import io

    text = as_text(pa.table({"item_id": pa.array(ids, pa.string()), "rank": list(range(len(ids)))}), "csv")
    assert [row["item_id"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ids


def test_a_folder_that_is_not_there_is_named(tmp_path):
    from negsieve.errors import CannotCreate

    with pytest.raises(CannotCreate, match=r"there is no folder .*nowhere"):
        write_table(pa.table({"user_id": ["a"]}), tmp_path / "nowhere" / "x.csv")
