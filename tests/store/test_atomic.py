import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from negsieve.errors import CannotCreate, DataError, MissingInput, StorageError
from negsieve.store.atomic import (
    append_line,
    json_text,
    need,
    read_json,
    read_lines,
    read_yaml,
    replacing,
    whole_folder,
    write_bytes,
    write_json,
    yaml_text,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé\n"\\\x7f😀'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(value=plain)
def test_json_comes_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_bytes().endswith(b"\n")


def test_bytes_replace_the_former_file_and_leave_nothing_else(tmp_path):
    import hashlib

    path = tmp_path / "a.bin"
    for data in (b"first", b"", b"second" * 1000):
        assert write_bytes(path, data) == hashlib.sha256(data).hexdigest()
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failing_block_leaves_the_former_file(tmp_path):
    path = tmp_path / "a[1].bin"
    write_bytes(path, b"good")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert path.read_bytes() == b"good" and os.listdir(tmp_path) == ["a[1].bin"]


def test_leftovers_of_dead_processes_go_and_those_of_the_living_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    (tmp_path / f".out.{dead.pid}.tmp").mkdir()
    (tmp_path / f".out.{dead.pid}.old").mkdir()
    (tmp_path / f".out.{os.getppid()}.tmp").mkdir()
    (tmp_path / ".out.mine.tmp").mkdir()
    with whole_folder(tmp_path / "out") as temporary:
        (temporary / "x").write_text("x")
    assert sorted(os.listdir(tmp_path)) == sorted([f".out.{os.getppid()}.tmp", ".out.mine.tmp", "out"])


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(KeyError), whole_folder(target) as temporary:
        (temporary / "x").write_text("half")
        raise KeyError
    assert os.listdir(tmp_path) == []
    with whole_folder(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "x").write_text("1")
        assert not target.exists()
    with pytest.raises(CannotCreate, match="exists already"), whole_folder(target):
        pass
    with whole_folder(target, replace=True) as temporary:
        (temporary / "y").write_text("2")
    assert os.listdir(target) == ["y"] and os.listdir(tmp_path) == ["out"]


def test_a_torn_last_line_is_dropped_by_the_reader_and_cut_by_the_writer(tmp_path):
    path = tmp_path / "m.jsonl"
    for number in range(3):
        append_line(path, json.dumps({"n": number, "pad": "x" * 5000}))
    with path.open("ab") as file:
        file.write(b'{"n": 3, "pad": "' + b"y" * 9000)
    assert [record["n"] for record in read_lines(path)] == [0, 1, 2]
    append_line(path, '{"n": 4}')
    assert [record["n"] for record in read_lines(path)] == [0, 1, 2, 4]


def test_a_file_of_one_torn_line_is_cut_to_nothing(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"n": 0')
    assert read_lines(path) == []
    append_line(path, '{"n": 1}')
    assert path.read_bytes() == b'{"n": 1}\n'


def test_a_bad_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": \n{"n": 2}\n')
    with pytest.raises(DataError, match=r"m\.jsonl:2: found bad JSON"):
        read_lines(path)
    path.write_bytes(b"[1]\n")
    with pytest.raises(DataError, match="found list, wanted an object"):
        read_lines(path)


def test_a_line_break_inside_a_line_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line break"):
        append_line(tmp_path / "m", "a\nb")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('{"a": NaN}', "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[1e999]", "1e999"),
        ('["\\ud800"]', "surrogates"),
        ("[" * 100_000, "nested deeper"),
        ("[" * 70 + "]" * 70, "nested deeper"),
        ("1" * 5000, "bad JSON"),
        ("", "bad JSON"),
        ("{} x", "bad JSON"),
    ],
)
def test_json_that_python_would_take_is_refused_by_file_name(tmp_path, text, why):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=why) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_json_of_bad_bytes_or_too_many_is_refused(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(b'"\xff"')
    with pytest.raises(DataError, match="bad JSON"):
        read_json(path)
    path.write_text("[1, 2, 3]")
    with pytest.raises(DataError, match="more than 5 bytes"):
        read_json(path, largest=5)
    with pytest.raises(MissingInput, match="no such file"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a: 1\na: 2\n", "'a' twice"),
        ("a: {b: 1, b: 2}\n", "'b' twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("- 1\n", "found list, wanted a mapping"),
        ("a: [1\n", "bad YAML"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("", "found NoneType"),
    ],
)
def test_yaml_holds_plain_values_only(tmp_path, text, why):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=why):
        read_yaml(path)


@given(value=st.dictionaries(st.text(max_size=6), plain | st.text(max_size=8), max_size=4))
def test_yaml_as_runs_write_it_comes_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_bytes(yaml_text(value).encode())
    assert read_yaml(path) == value


def test_numbers_of_numpy_and_torch_become_plain_and_others_are_refused():
    value = {"a": np.int64(3), "b": np.float32(0.5), "c": torch.tensor(2), "d": (1, 2)}
    assert json.loads(json_text(value)) == {"a": 3, "b": 0.5, "c": 2, "d": [1, 2]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": float("nan")})
    assert json_text({"a": [float("nan"), np.float64("inf"), 1.0]}, undefined=True) == '{"a": [null, null, 1.0]}'
    with pytest.raises(TypeError, match="set has no place"):
        json_text({"a": {1}})


def test_missing_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(StorageError, match="are needed and"):
        need(tmp_path, 1 << 62)
    need(tmp_path / "not" / "yet", 1)


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"gone/a: cannot write 3 bytes: No such file"):
        write_bytes(tmp_path / "gone" / "a", b"abc")


DISK_FULL = """
import os, resource, sys
from pathlib import Path
from negsieve.errors import StorageError
from negsieve.store.atomic import append_line, write_bytes
folder = Path(sys.argv[1])
write_bytes(folder / "a", b"old")
append_line(folder / "m", "first")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for act in (lambda: write_bytes(folder / "a", b"x" * 5000), lambda: append_line(folder / "m", "y" * 5000)):
    try:
        act()
    except StorageError as problem:
        print(problem)
print(sorted(os.listdir(folder)), (folder / "a").read_bytes(), (folder / "m").read_bytes())
"""


def test_disk_full_names_path_and_bytes_and_leaves_what_was_there(tmp_path):
    done = subprocess.run([sys.executable, "-c", DISK_FULL, tmp_path], capture_output=True, text=True, check=True)
    first, second, last = done.stdout.splitlines()
    assert "a: cannot write 5000 bytes" in first and "m: cannot write 5001 bytes" in second
    assert "Free some space" in first
    assert last == "['a', 'm'] b'old' b'first\\n'"
