"""Cores are counted as granted: by affinity, and by the quotas of every group that holds the process."""

import os

import pytest

from negsieve.cores import usable_cores

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def groups(tmp_path, line, files):
    (tmp_path / "membership").write_text(line)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {"root": tmp_path / "root", "membership": tmp_path / "membership"}


def test_without_groups_affinity_counts(tmp_path):
    assert usable_cores(root=tmp_path, membership=tmp_path / "none") == BOUND
    assert 1 <= usable_cores() <= BOUND


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "9900000 100000\n"}),
        ("4:memory:/x\n3:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}),
        ("0::/\n", {"cpu.max": "not what it should be\n"}),
    ],
)
def test_no_limit_or_a_wide_one_leaves_affinity(tmp_path, line, files):
    assert usable_cores(**groups(tmp_path, line, files)) == BOUND


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "100000 100000\n"}),
        ("0::/host/path\n", {"cpu.max": "100000 100000\n"}),
        ("3:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_a_quota_of_one_core_or_less_is_one(tmp_path, line, files):
    assert usable_cores(**groups(tmp_path, line, files)) == 1
