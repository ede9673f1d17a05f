import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest


def test_a_look_at_a_few_users_is_readable_and_harmless(call, run):
    said = call("recommend", run, "--k", "20")
    assert said.code == 0
    assert said.out.count("user u") == 3
    for title in ("Plain", "[red]x[/red]", r"\x1b[31mred\x1b[0m", "=1+1", "tail\\u202egnp.exe"):
        assert title in said.out
    assert "\x1b" not in said.out and "\u202e" not in said.out
    assert "3 of 31 users" in said.err


def test_named_users_get_k_items_that_they_have_not_seen(call, run, log):
    found = call("recommend", run, "--user", "u4", "--user", "newcomer", "--k", "5", "--json").json
    assert found["users"] == 2 and found["k"] == 5
    rows = found["lists"]
    assert [row["user_id"] for row in rows] == ["u4"] * 5 + ["newcomer"] * 5
    assert {row["by"] for row in rows[5:]} == {"popularity"}
    seen = {
        line.split(",")[1] for line in (log / "interactions.csv").read_text().splitlines() if line.startswith("u4,")
    }
    assert not seen & {row["item_id"] for row in rows[:5]}
    more = call("recommend", run, "--user", "u4", "--k", "40", "--include-seen", "--json").json["lists"]
    assert seen <= {row["item_id"] for row in more}


def test_users_of_a_file_keep_their_spelling(call, run, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xef\xbb\xbfu1\r\nu2\r\n\r\n")
    rows = call("recommend", run, "--users-file", file, "--k", "1", "--json").json["lists"]
    assert [row["user_id"] for row in rows] == ["u1", "u2"]
    file.write_text(" u1\n")
    assert call("recommend", run, "--users-file", file).code == 66
    file.write_text("\n")
    assert "holds no user id" in call("recommend", run, "--users-file", file).err
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in call("recommend", run, "--users-file", file).err


def test_csv_and_jsonl_go_to_stdout_for_all_users(call, run):
    said = call("recommend", run, "--k", "2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert len({row["user_id"] for row in rows}) == 31 and said.err == ""
    assert any(
        row["title"] == "'=1+1" for row in csv.DictReader(io.StringIO(call("recommend", run, "--format", "csv").out))
    )
    lines = call("recommend", run, "--k", "2", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["item_id"] for line in lines] == [row["item_id"] for row in rows]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_files_by_their_ending(ending, call, run, tmp_path):
    file = tmp_path / f"lists.{ending}"
    found = call("recommend", run, "--k", "3", "--out", file, "--json").json
    assert found == {"run": str(run), "k": 3, "users": 31, "out": str(file), "rows": 93}
    if ending == "parquet":
        assert pq.read_table(file).num_rows == 93
    else:
        assert len(file.read_text().splitlines()) == 93 + (ending == "csv")


def test_similar_items(call, run):
    rows = call("similar", run, "--item", "i1", "--item", "i2", "--k", "3", "--json").json["lists"]
    assert [row["item_id"] for row in rows] == ["i1"] * 3 + ["i2"] * 3
    assert all(row["similar_id"] != row["item_id"] for row in rows)
    assert "item i1" in call("similar", run, "--item", "i1").out
    assert call("similar", run, "--all", "--k", "1", "--json").json["items"] == 40


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_export_writes_vectors_with_their_ids(form, call, run, tmp_path):
    found = call("export", run, tmp_path / "vectors", "--format", form, "--json").json
    assert found["dim"] == 8 and found["similarity"] == "dot" and found["items"] == 40
    assert f"users.{form}" in found["files"]
    if form == "npy":
        assert np.load(tmp_path / "vectors" / "users.npy").shape == (31, 8)
    assert "width 8" in call("export", run, tmp_path / "again", "--format", form).out
