"""Ingest: every bad row is named, ids keep their spelling, and a slow parser of our own agrees."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
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

from negsieve.data.columns import ALIASES, LOG_ROLES
from negsieve.data.read import read
from negsieve.errors import DataError, MissingInput, NegsieveError, UsageError

HEADER = "user_id,item_id,rating,timestamp\n"
SHARED = Path(__file__).parents[2] / "../shared/data"


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


def test_mixed_line_ends_are_an_error_not_a_guess(tmp_path):
    with pytest.raises(DataError, match="line endings"):
        read(written(tmp_path, HEADER + "1,2,3,4\r\n1,3,3,4\n5,6,7,8\r\n"))


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


# ---- ids keep their spelling ----

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


# ---- forms ----


def test_json_lines_are_judged_by_line(tmp_path):
    good = '{"userId": 18446744073709551617, "asin": "x", "overall": 4.50}\n\n{"userId": "a", "asin": "y"}\n'
    log = read(written(tmp_path, good, "log.jsonl"))
    assert ids(log) == [("18446744073709551617", "x"), ("a", "y")]
    assert log.rating[0] == 4.5 and math.isnan(log.rating[1]) and log.facts["unrated"] == 1
    for line, words in {
        '{"userId": 1.5, "asin": "x"}': "wanted an id",
        '{"userId": null, "asin": "x"}': "found nothing",
        '{"userId": true, "asin": "x"}': "wanted text or a number",
        '{"userId": ["a"], "asin": "x"}': "wanted text or a number",
        '{"userId": "a", "asin": "x", "overall": NaN}': "found 'NaN'",
        '{"userId": "a", "userId": "b", "asin": "x"}': "given twice",
        '{"userId": "\\ud800", "asin": "x"}': "lone surrogates",
        '{"userId": "a\\u0000", "asin": "x"}': "control characters",
        "[1, 2]": "wanted one JSON object",
        "[" * 50_000: "wanted one JSON object",
        '{"userId": "a"': "wanted one JSON object",
    }.items():
        with pytest.raises(DataError, match=words) as caught:
            read(written(tmp_path, good + line + "\n", "log.jsonl"))
        assert caught.value.row == 4
    with pytest.raises(DataError, match="found a JSON array"):
        read(written(tmp_path, '[{"user": 1, "item": 2}]', "log.json"))


def test_recbole_file_and_folder(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    written(folder, "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\tx\t3\t5\n", "shop.inter")
    written(folder, "item_id:token\tmovie_title:token_seq\nx\tA film\n", "shop.item")
    assert ids(read(folder / "shop.inter")) == [("1", "x")]
    log = read(folder)
    assert ids(log) == [("1", "x")] and log.titles == ["A film"] and log.facts["name"] == "shop"


def test_recbole_parts(tmp_path):
    for part, item in (("train", "a"), ("valid", "b"), ("test", "c")):
        written(tmp_path, f"user_id:token\titem_id:token\n1\t{item}\n", f"shop.{part}.inter")
    log = read(tmp_path)
    assert ids(log) == [("1", "a"), ("1", "b"), ("1", "c")] and log.part.tolist() == [0, 1, 2]


def test_lightgcn_folder(tmp_path):
    written(tmp_path, "0 5 6 \n1 5\n", "train.txt")
    written(tmp_path, "0 7\n1\n", "test.txt")
    log = read(tmp_path)
    assert ids(log) == [("0", "5"), ("0", "6"), ("1", "5"), ("0", "7")]
    assert log.part.tolist() == [0, 0, 0, 2] and log.facts["users_without_items"] == 1


def test_a_headerless_table_is_not_taken_for_lightgcn(tmp_path):
    with pytest.raises(DataError, match="or a header line"):
        read(written(tmp_path, "196\t242\t3\t881250949\n", "u.txt"))


def test_a_txt_table_is_told_by_its_header(tmp_path):
    assert ids(read(written(tmp_path, "user\titem\n1\t2\n", "log.txt"))) == [("1", "2")]


def test_titles_come_by_id_and_extra_items_stay_out(tmp_path):
    pq.write_table(pa.table({"user_id": [1, 1], "item_id": [5, 3]}), tmp_path / "interactions.parquet")
    pq.write_table(pa.table({"item_id": [3, 4, 5], "title": ["three", "four", None]}), tmp_path / "items.parquet")
    log = read(tmp_path)
    assert log.titles == ["", "three"] and list(log.items) == ["5", "3"]


def test_times_in_text_and_in_types_mean_the_same_second(tmp_path):
    text = "user,item,when\n1,1,2024-01-01T02:00:00+02:00\n1,2,2024-01-01\n"
    text += "1,3,2023-12-31 19:00:00.500-0500\n1,4,2024-01-01T00:00Z\n"
    log = read(written(tmp_path, text), columns={"timestamp": "when"})
    assert log.timestamp.tolist() == [1704067200.0, 1704067200.0, 1704067200.5, 1704067200.0]
    frame = pd.DataFrame(
        {
            "user": [1, 1],
            "item": [1, 2],
            "ts": pd.to_datetime(["2024-01-01 00:00:00", "2024-01-01 00:00:01.25"], format="ISO8601"),
        }
    )
    assert read(frame).timestamp.tolist() == [1704067200.0, 1704067201.25]
    zoned = frame.assign(ts=frame.ts.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    assert read(zoned).timestamp.tolist() == [1704067200.0, 1704067201.25]
    assert (
        read(pl.DataFrame({"user": [1], "item": [1], "date": [1]}).with_columns(date=pl.date(2024, 1, 1))).timestamp
        == 1704067200.0
    )


def test_polars_lazy_and_doubled_frame_columns():
    assert ids(read(pl.LazyFrame({"user": ["a"], "item": ["b"]}))) == [("a", "b")]
    with pytest.raises(DataError, match="2 times"):
        read(pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"]))


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


# ---- domains ----


def test_ids_in_several_domains_are_reported_and_can_be_told_apart(tmp_path):
    file = written(tmp_path, "user,item,domain\n1,5,book\n1,5,music\n1,6,music\n")
    log = read(file)
    assert ids(log) == [("1", "5"), ("1", "6")] and log.facts["items_in_several_domains"] == 1
    log = read(file, item_ids="by-domain")
    assert ids(log) == [("1", "book:5"), ("1", "music:5"), ("1", "6")]
    assert log.domains == ("book", "music") and log.domain.tolist() == [0, 1, 1]


# ---- the real folders ----

COUNTS = {
    "online-retail": (4_074, 3_145, 264_514),
    "ml-100k": (943, 1_682, 100_000),
    "douban-monti": (2_999, 3_000, 136_891),
    "dens-toy": (4_626, 10_083, 52_790),
    "dens-beauty": (7_670, 10_887, 82_297),
    "tmall-ts": (22_438, 35_229, None),
    "taobao-ts": (31_882, 30_985, None),
    "amazon-toy-game": (7_996, 49_603, None),
    "abxi-afk": (7_144, 28_095, 173_548),
    "llmcdsr-movie-book": (20_502, 39_883, 269_443),
    "douban-xd-ts": (14_965, 6_249, None),
    "anime": (5_000, 7_390, 520_609),
    "goodbooks-sub": (2_672, 9_990, 298_176),
    "minionerec-office": (3_231, 3_317, None),
    "gowalla": (29_858, 40_981, 1_027_370),
    "yelp2018": (31_668, 38_048, 1_561_406),
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_folders(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not beside the checkout")
    log = read(SHARED / name)
    users, items, rows = COUNTS[name]
    assert (len(log.users), len(log.items)) == (users, items)
    assert len(log) == rows if rows else log.facts["dropped"]["duplicates"] + log.facts["dropped"]["parts_overlap"] > 0
