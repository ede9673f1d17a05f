"""Ingest: every bad row is named, ids keep their spelling, and a slow parser of our own agrees."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from negsieve.data.columns import ALIASES, LOG_ROLES
from negsieve.data.read import read
from negsieve.errors import DataError, MissingInput, NegsieveError, UsageError

HEADER = "user_id,item_id,rating,timestamp\n"


def ids(log):
    return [(log.users[u], log.items[i]) for u, i in zip(log.user, log.item, strict=True)]


def written(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


# ---- the malformed cases: what is refused, and where ----

BAD = {
    "short row": (HEADER + "1,2,3,4\n1,2,3\n", 3, "timestamp", "found 3 values"),
    "truncated last row": (HEADER + "1,2,3,4\n1,2", 3, "rating", "found 2 values"),
    "long row": (HEADER + "1,2,3,4\n1,2,3,4,5\n", 3, "column 5", "found 5 values"),
    "word in time": (HEADER + "1,2,3,abc\n", 2, "timestamp", "found 'abc', wanted a time"),
    "NaN in time": (HEADER + "1,2,3,4\n1,3,3,NaN\n", 3, "timestamp", "found 'NaN'"),
    "infinite time": (HEADER + "1,2,3,inf\n", 2, "timestamp", "found 'inf'"),
    "negative time": (HEADER + "1,2,3,-4\n", 2, "timestamp", "found '-4'"),
    "absurd time": (HEADER + "1,2,3,1e17\n", 2, "timestamp", "found '1e17'"),
    "empty time": (HEADER + "1,2,3,\n", 2, "timestamp", "found nothing"),
    "underscore in a number": (HEADER + "1,2,1_000,4\n", 2, "rating", "found '1_000'"),
    "date among numbers": (HEADER + "1,2,3,4\n1,3,3,2024-01-01\n", 3, "timestamp", "found '2024-01-01'"),
    "no such day": (HEADER + "1,2,3,2024-02-01\n1,3,3,2024-02-31\n", 3, "timestamp", "found '2024-02-31'"),
    "before 1970": (HEADER + "1,2,3,1969-12-31\n", 2, "timestamp", "found '1969-12-31'"),
    "NaN rating": (HEADER + "1,2,nan,4\n", 2, "rating", "found 'nan', wanted a finite number"),
    "infinite rating": (HEADER + "1,2,1e999,4\n", 2, "rating", "found '1e999'"),
    "no header": ("1,2,3,4\n1,3,4,5\n", 1, None, "add a header line"),
    "doubled column": ("user_id,user_id,item_id\n1,2,3\n", 1, "user_id", "2 times"),
    "two user columns": ("user,uid,item\n1,2,3\n", 1, None, "columns={'user': 'user'}"),
    "unclosed quote": (HEADER + '1,"2,3,4\n1,3,3,4\n', 2, None, "skip_bad cannot pass over it"),
    "text after a quote": (HEADER + '1,"2"3,3,4\n', 2, "item_id", "a quote out of place"),
    "NUL in an id": (HEADER + "1,a\0b,3,4\n", 2, "item_id", "control characters"),
    "bell in an id": (HEADER + "1,a\x07,3,4\n", 2, "item_id", "'a\\x07'"),
    "line end in an id": (HEADER + '1,2,3,4\n1,"a\nb",3,4\n', 3, "item_id", "'a\\nb'"),
    "bytes that are not UTF-8": (HEADER.encode() + b"1,\xff,3,4\n", 2, "item_id", "not UTF-8"),
    "header that is not UTF-8": (b"us\xff,item\n", 1, None, "not UTF-8"),
    "empty file": ("", 1, None, "found an empty file"),
    "blank first line": ("\n\n", 1, None, "blank first line"),
    "header alone": (HEADER, None, None, "no row below the header"),
    "empty id": (HEADER + ",2,3,4\n", 2, "user_id", "found nothing"),
    "quoted empty id": (HEADER + '1,"",3,4\n', 2, "item_id", "found nothing"),
    "unknown part": ("user_id,item_id,split\n1,2,train\n1,3,holdout\n", 3, "split", "found 'holdout'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_text_is_refused_with_its_place(tmp_path, name):
    text, row, column, words = BAD[name]
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, text))
    assert (caught.value.row, caught.value.column) == (row, column)
    assert "log.csv" in str(caught.value) and words in str(caught.value)


def test_the_first_ten_are_listed_and_all_are_counted(tmp_path):
    file = written(tmp_path, HEADER + "1,2,3,4\n" + "1,2,x,4\n" * 15 + "1,2\n")
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).count("log.csv:") == 10
    assert "16 bad rows" in str(caught.value) and "and 6 more" in str(caught.value)


def test_skip_bad_takes_up_to_so_many_and_records_them(tmp_path):
    file = written(tmp_path, HEADER + '1,2\n"1","a",3,4\n\n1,b,z,4\n1,c,3,5\n')
    log = read(file, skip_bad=2)
    assert ids(log) == [("1", "a"), ("1", "c")]
    assert log.facts["rows_rejected"] == 2 and log.facts["rows_read"] == 4
    assert [reject.split(":", 1)[1].split(":")[0] for reject in log.facts["rejects"]] == ["2", "5"]
    with pytest.raises(DataError, match="2 bad rows; skip_bad=1 allows fewer"):
        read(file, skip_bad=1)


def test_rows_after_a_refused_piece_keep_their_places(tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    written(folder, "user_id,item_id\n1,a\n1\n2,b\n", "train.csv")
    written(folder, "user_id,item_id\n1,c\n2,d\x01\n3\n", "test.csv")
    with pytest.raises(DataError) as caught:
        read(folder)
    assert "train.csv:3:item_id" in str(caught.value)
    assert "test.csv:3:item_id: found 'd\\x01'" in str(caught.value) and "test.csv:4:item_id" in str(caught.value)
    log = read(folder, skip_bad=3)
    assert ids(log) == [("1", "a"), ("2", "b"), ("1", "c")] and log.part.tolist() == [0, 0, 2]


def test_places_are_lines_even_after_texts_of_several_lines(tmp_path):
    text = 'user_id,text,item_id,timestamp\n1,"a\nb, ""c""\n\n",x,1\n\n1,d,y,zzz\n1,e\n1,f,"z"z,2\n1,g,w,3\n'
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, text))
    places = re.findall(r"log\.csv:(\d+):(\w+)", str(caught.value))
    assert places == [("7", "timestamp"), ("8", "item_id"), ("9", "item_id")]
    assert ids(read(written(tmp_path, text), skip_bad=3)) == [("1", "x"), ("1", "w")]
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, text + '1,"h\n1,i,v,4\n'), skip_bad=9)
    assert caught.value.row == 11


def test_mixed_line_ends_are_read_right_or_refused(tmp_path):
    """DuckDB 2 refuses them, DuckDB 1 reads them; neither may lose a row."""
    try:
        log = read(written(tmp_path, HEADER + "1,2,3,4\r\n1,3,3,4\n5,6,7,8\r\n"))
    except DataError as refusal:
        assert "line endings" in str(refusal)
    else:
        assert ids(log) == [("1", "2"), ("1", "3"), ("5", "6")]


def test_commas_at_the_end_of_a_row_are_nothing(tmp_path):
    """As spreadsheets leave them; a value there is one too many."""
    log = read(written(tmp_path, HEADER + "1,2,3,4,\n1,3,3,4\n5,6,7,8,,\n"))
    assert ids(log) == [("1", "2"), ("1", "3"), ("5", "6")]
    with pytest.raises(DataError, match=r"found 5 values .* wanted 4"):
        read(written(tmp_path, HEADER + "1,2,3,4,\n1,3,3,4,0\n"))


# ---- an independent slow parser ----


def slow(text: str):
    """What a strict reader makes of CSV text, or None where it must refuse: pairs with rating and time."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    rows = [row for row in csv.reader(io.StringIO(lines, newline=""), strict=True) if row]
    names = [name.strip().lower() for name in rows[0]] if rows else []
    found = {role: [at for at, name in enumerate(names) if name in ALIASES[role]] for role in LOG_ROLES}
    if not found["user"] or not found["item"]:
        return None
    kept: dict[tuple[str, str], tuple] = {}
    for row in rows[1:]:
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) != len(names):
            return None
        user, item = row[found["user"][0]], row[found["item"][0]]
        if not user or not item or any(ord(one) < 32 or 127 <= ord(one) < 160 for one in user + item):
            return None
        rating = row[found["rating"][0]] if found["rating"] else ""
        time = row[found["timestamp"][0]] if found["timestamp"] else "0"
        numbers = [_slow_number(rating) if rating else math.nan, _slow_number(time)]
        if None in numbers or not 0 <= numbers[1] <= 2.0**53:
            return None
        before = kept.get((user, item))
        if before is None or numbers[1] < before[1]:
            kept[user, item] = tuple(numbers)
    return kept or None


def _slow_number(text: str):
    if not re.fullmatch(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", text, re.ASCII):
        return None
    return value if math.isfinite(value := float(text)) else None


GOOD = HEADER + '007,a,3.5,10\n18446744073709551617,"b ""c""",4,11\n007,é,,12\n x ,b,1e0,13\n007,a,2,9\n'
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(GOOD)),
        st.integers(0, 6),
        st.text('0179,"\n\r\t\0\x85 -.e+naif\u202eé😀_;', max_size=4),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(EDITS)
def test_a_mutated_file_is_read_like_the_slow_parser_or_refused(edits):
    text = GOOD
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    with tempfile.TemporaryDirectory() as folder:
        try:
            log = read(written(Path(folder), text))
        except DataError:
            return
    wanted = slow(text)
    assert wanted is not None
    assert set(ids(log)) == set(wanted)
    nothing = [math.nan] * len(log)
    ratings = nothing if log.rating is None else log.rating
    times = [0.0] * len(log) if log.timestamp is None else log.timestamp
    for pair, rating, time in zip(ids(log), ratings, times, strict=True):
        assert time == wanted[pair][1]
        assert rating == wanted[pair][0] or (math.isnan(rating) and math.isnan(wanted[pair][0]))


OTHERS = {
    "log.jsonl": b'{"user": "a", "item": 1, "rating": 2.5}\n{"user": "b", "item": "x", "rating": null}\n',
    "log.txt": b"0 1 2 3\n1 2\n2\n",
    "log.inter": b"user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n3\t4\t5\n",
    "log.csv.gz": gzip.compress(b"user,item\n1,2\n", mtime=0),
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(OTHERS)), st.integers(0, 90), st.integers(0, 5), st.binary(max_size=4))
def test_mutated_files_of_other_forms_are_read_or_refused(name, at, length, new):
    whole = OTHERS[name]
    with tempfile.TemporaryDirectory() as folder:
        try:
            log = read(written(Path(folder), whole[:at] + new + whole[at + length :], name))
        except DataError as refusal:
            assert name in str(refusal)
        else:
            assert len(log) and all(log.users) and all(log.items)


# ---- what is not there, or no argument ----


def test_what_is_not_there_is_missing_input(tmp_path):
    written(tmp_path, HEADER, "ratings.csv")
    with pytest.raises(MissingInput, match=r"Did you mean 'ratings\.csv'"):
        read(tmp_path / "rating.csv")
    with pytest.raises(MissingInput):
        read("a\0b")


@pytest.mark.parametrize(
    "arguments",
    [
        {"format": "cvs"}, {"columns": {"usr": "a"}}, {"duplicates": "any"}, {"core": -1}, {"core": (1, 2, 3)},
        {"since": "yesterday"}, {"skip_bad": -1}, {"rating_min": float("nan")}, {"memory_limit": "lots"},
        {"item_ids": "x"},
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(tmp_path, arguments):
    with pytest.raises(UsageError):
        read(written(tmp_path, HEADER + "1,2,3,4\n"), **arguments)


def test_no_source_at_all():
    with pytest.raises(UsageError, match="wanted a path"):
        read(42)


@pytest.mark.parametrize("name", ["log.parquet", "log.csv.gz", "log.xyz", "log.jsonl"])
def test_rubbish_is_a_data_error(tmp_path, name):
    for rubbish in (b"", b"PAR1 rubbish PAR1", b"\x1f\x8b\x08 broken", bytes(range(256)) * 4):
        with pytest.raises(DataError):
            read(written(tmp_path, rubbish, name))


def test_folders_that_make_no_sense(tmp_path):
    with pytest.raises(DataError, match="found nothing; wanted interactions"):
        read(tmp_path)
    written(tmp_path, HEADER, "test.csv")
    with pytest.raises(DataError, match="no train file"):
        read(tmp_path)
    written(tmp_path, HEADER + "1,2,3,4\n", "train.csv")
    written(tmp_path, "user_id,item_id\n1,5\n", "test.csv")
    with pytest.raises(DataError, match=r"found no rating column, though .*train.csv has one"):
        read(tmp_path)


def test_cut_parquet_is_a_data_error(tmp_path):
    file = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": [str(n) for n in range(500)], "item": list(range(500))}), file)
    whole = file.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 20)):
        file.write_bytes(whole[:end])
        with pytest.raises(DataError):
            read(file)


# ---- sameness and size ----


def test_a_low_memory_limit_and_threads_change_nothing(tmp_path):
    n = 300_000
    rng = np.random.default_rng(5)
    frame = pa.table(
        {
            "user_id": [f"user number {one}" for one in rng.integers(0, 60_000, n)],
            "item_id": [f"a rather long item id {one}" for one in rng.integers(0, 30_000, n)],
            "timestamp": np.arange(n),
        }
    )
    file = tmp_path / "log.csv"
    frame.to_pandas().to_csv(file, index=False)
    one, two = read(file), read(file, memory_limit="60MB")
    for name in ("user", "item", "timestamp"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert list(one.users) == list(two.users) and list(one.items) == list(two.items)
    users = dict.fromkeys(frame["user_id"].to_pylist())
    assert list(one.users) == list(users)


def test_too_low_a_limit_says_so(tmp_path):
    file = written(tmp_path, "user,item\n" + "".join(f"u{n},i{n}\n" for n in range(200_000)))
    with pytest.raises(NegsieveError, match=r"memory limit is too small|cannot be read"):
        read(file, memory_limit="1MB")
