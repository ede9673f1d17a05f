"""Every named method trains on real data, draws nothing its user has in train, and keeps its memory over a resume."""

from __future__ import annotations

import os
import tempfile

import pytest

from negsieve.review.calls import check
from negsieve.samplers.named import METHODS

USERS = 24


@pytest.fixture
def fast_disk(monkeypatch):
    """Checkpoints of a few kilobytes in memory: waiting for a disk would be most of the time."""
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")


@pytest.mark.parametrize("name", ["online-retail", "ml-100k"])
def test_promise(name, shared, fast_disk):
    source = name if name == "online-retail" else shared(name)
    settings = {
        "data": {"source": str(source)} | ({"negatives_below": 2} if name == "ml-100k" else {}),
        "train": {"batch_size": 512, "threads": 1, "device": "cpu"},
    }
    found = check(settings=settings, samplers="all", users=USERS)
    broken = {row["method"]: row["why"] for row in found["rows"] if row["ok"] is False}
    assert not broken
    assert [row["method"] for row in found["rows"]] == list(METHODS)
    left_out = {row["method"] for row in found["rows"] if row["ok"] is None}
    assert left_out <= ({"explicit", "realhns"} if name == "online-retail" else {"realhns"})
