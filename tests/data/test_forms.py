"""Every form of a log that can be read, and the real folders beside the checkout."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negsieve.data.read import read
from negsieve.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data"


def ids(log):
    return [(log.users[u], log.items[i]) for u, i in zip(log.user, log.item, strict=True)]


def written(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


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


def test_ids_in_several_domains_are_reported_and_can_be_told_apart(tmp_path):
    file = written(tmp_path, "user,item,domain\n1,5,book\n1,5,music\n1,6,music\n")
    log = read(file)
    assert ids(log) == [("1", "5"), ("1", "6")] and log.facts["items_in_several_domains"] == 1
    log = read(file, item_ids="by-domain")
    assert ids(log) == [("1", "book:5"), ("1", "music:5"), ("1", "6")]
    assert log.domains == ("book", "music") and log.domain.tolist() == [0, 1, 1]


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
