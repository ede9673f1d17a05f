"""Snapshots: what comes back is what went in, or an error that names the file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from negsieve.data import snapshot
from negsieve.data.read import read
from negsieve.errors import DataError, MissingInput, UsageError


def written(dataset, folder):
    folder.mkdir()
    snapshot.write(dataset, folder)
    return folder


def assert_equal(one, two):
    assert (one.name, one.split, one.hash) == (two.name, two.split, two.hash)
    assert (one.part == two.part).all() and one.part.dtype == two.part.dtype
    first, second = one.interactions, two.interactions
    for name in ("user", "item", "rating", "timestamp", "domain", "part"):
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    assert list(first.users) == list(second.users) and list(first.items) == list(second.items)
    assert (first.titles, first.domains, first.facts) == (second.titles, second.domains, second.facts)


def test_round_trip(small, tmp_path):
    assert_equal(small, snapshot.load(written(small, tmp_path / "a")))


def test_round_trip_of_the_bare_minimum(small, tmp_path):
    bare = replace(small.interactions, rating=None, timestamp=None, domain=None, domains=(), titles=None, part=None)
    bare = replace(small, interactions=bare)
    assert_equal(bare, snapshot.load(written(bare, tmp_path / "a")))
    other = replace(small, part=np.array([2, 0, 0, 0, 1, -1, 2], dtype=np.int8))
    assert_equal(other, snapshot.load(written(other, tmp_path / "b")))


def test_the_same_bytes_for_the_same_data(small, tmp_path):
    one, two = written(small, tmp_path / "a"), written(replace(small), tmp_path / "b")
    assert [file.read_bytes() for file in sorted(one.iterdir())] == [
        file.read_bytes() for file in sorted(two.iterdir())
    ]


def test_every_altered_byte_is_noticed(small, tmp_path):
    folder = written(small, tmp_path / "a")
    rng = np.random.default_rng(0)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for place in rng.integers(0, len(whole), 40):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(rng.integers(0, 7))
            file.write_bytes(bytes(flipped))
            with pytest.raises(DataError) as caught:
                snapshot.load(folder)
            assert file.name in str(caught.value)
        for end in rng.integers(0, len(whole) - 2, 10):
            file.write_bytes(whole[:end])
            with pytest.raises(DataError, match=file.name):
                snapshot.load(folder)
        file.write_bytes(whole)
    assert snapshot.load(folder).hash == small.hash


def test_missing_swapped_and_foreign_files(small, tmp_path):
    folder = written(small, tmp_path / "a")
    users, items = folder / "users.parquet", folder / "items.parquet"
    users.rename(folder / "x"), items.rename(users), (folder / "x").rename(items)
    with pytest.raises(DataError, match=r"users\.parquet"):
        snapshot.load(folder)
    users.unlink()
    with pytest.raises(DataError, match=r"users\.parquet: is missing"):
        snapshot.load(folder)
    with pytest.raises(MissingInput, match=r"dataset\.json is missing"):
        snapshot.load(tmp_path)


def test_another_format_is_refused_by_name(small, tmp_path):
    folder = written(small, tmp_path / "a")
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DataError, match=r"dataset\.json: found format 99, wanted 1"):
        snapshot.load(folder)


def test_a_snapshot_is_not_read_as_a_log(small, tmp_path):
    with pytest.raises(UsageError, match="snapshot"):
        read(written(small, tmp_path / "a"))


def test_the_hash_sees_every_id_and_column(small):
    log = small.interactions
    others = [
        replace(small, part=small.part[::-1].copy()),
        replace(small, interactions=replace(log, user=log.user[::-1].copy())),
        replace(small, interactions=replace(log, item=log.item[::-1].copy())),
        replace(small, interactions=replace(log, rating=None)),
        replace(small, interactions=replace(log, timestamp=log.timestamp + 1)),
        replace(small, interactions=replace(log, domains=("toys", "game"))),
        replace(small, interactions=replace(log, users=type(log.users)(["07", "ü", "a b", "👩"]))),
        replace(small, interactions=replace(log, items=type(log.items)(["18446744073709551617x", "", "y", "z"]))),
    ]
    assert len({small.hash, *(other.hash for other in others)}) == 9
    assert replace(small, name="other").hash == small.hash and len(small.hash) == 64
