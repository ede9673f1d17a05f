import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from negsieve.errors import CheckpointError, MissingInput
from negsieve.store import checkpoint

STATE = {"epoch": 3, "best": 0.1 + 0.2, "tiny": 5e-324, "list": [1, None, True], "name": "é😀"}


def groups(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {
        "model": {"user": torch.randn(20, 8, generator=rng), "item": torch.randn(30, 8, generator=rng)},
        "sampler": {"memory": torch.randint(0, 99, (7,), generator=rng), "flag": torch.tensor([True, False])},
    }


def same(one, other):
    assert one.keys() == other.keys()
    for group in one:
        assert one[group].keys() == other[group].keys()
        for name in one[group]:
            assert one[group][name].dtype == other[group][name].dtype
            assert torch.equal(one[group][name], other[group][name])


def refused(folder, capsys=None):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def saved(tmp_path):
    return checkpoint.save(tmp_path / "root", 123, groups(), STATE)


def test_round_trip(saved):
    assert saved.name == "step-000000123"
    assert sorted(os.listdir(saved)) == ["manifest.json", "model.safetensors", "sampler.safetensors"]
    found = checkpoint.load(saved)
    assert found.step == 123 and found.state == STATE
    same(found.groups, groups())
    assert [one for one in os.listdir(saved.parent) if one.startswith(".")] == []


def test_same_content_same_bytes(tmp_path):
    one, two = (checkpoint.save(tmp_path / name, 1, groups(), STATE) for name in "ab")
    for name in os.listdir(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_odd_tensors_come_back(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    odd = {
        "whole": base,
        "same": base,
        "turned": base.t(),
        "part": base[1:3, ::2],
        "spread": torch.ones(1).expand(5),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "empty too": torch.zeros(0),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "learnt": torch.nn.Parameter(torch.ones(2)),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    found = checkpoint.load(checkpoint.save(tmp_path, 0, {"g": odd}, {})).groups["g"]
    assert found.keys() == odd.keys()
    for name, tensor in odd.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        one, other = (x.detach().contiguous().flatten().view(torch.uint8).tolist() for x in (found[name], tensor))
        assert one == other or not tensor.numel(), name


@pytest.mark.parametrize("state", [{1: "x"}, {"a": {2: 1}}, {"a": [{None: 1}]}])
def test_keys_that_json_would_change_are_refused(tmp_path, state):
    with pytest.raises(ValueError, match="wanted strings only"):
        checkpoint.save(tmp_path, 0, {}, state)
    assert checkpoint.steps(tmp_path) == {}


def test_not_finite_state_and_odd_group_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save(tmp_path, 0, {}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="group"):
        checkpoint.save(tmp_path, 0, {"../x": {}}, {})
    assert os.listdir(tmp_path) == []


def test_the_two_newest_and_the_kept_stay(tmp_path):
    for step in (5, 10, 15, 20, 25):
        checkpoint.save(tmp_path, step, groups(), {}, keep=[10])
    assert sorted(checkpoint.steps(tmp_path)) == [10, 20, 25]
    checkpoint.save(tmp_path, 7, groups(), {})  # older than the two newest, yet just written
    assert sorted(checkpoint.steps(tmp_path)) == [7, 20, 25]
    assert sorted(os.listdir(tmp_path)) == [f"step-{step:09d}" for step in (7, 20, 25)]


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoint.save(tmp_path, 1, groups(0), {})
    folder = checkpoint.save(tmp_path, 1, groups(1), {"again": True})
    same(checkpoint.load(folder).groups, groups(1))
    assert os.listdir(tmp_path) == ["step-000000001"]


def test_every_flipped_bit_is_noticed(saved):
    rng = np.random.default_rng(7)
    for name in os.listdir(saved):
        good = (saved / name).read_bytes()
        for place in rng.integers(0, len(good) * 8, 200):
            bad = bytearray(good)
            bad[place // 8] ^= 1 << (place % 8)
            (saved / name).write_bytes(bad)
            refused(saved)
        (saved / name).write_bytes(good)
    checkpoint.load(saved)


def test_every_truncation_and_addition_is_noticed(saved):
    rng = np.random.default_rng(8)
    for name in os.listdir(saved):
        good = (saved / name).read_bytes()
        for size in {0, len(good) - 1, *rng.integers(0, len(good), 60).tolist()}:
            (saved / name).write_bytes(good[:size])
            assert name in refused(saved)
        (saved / name).write_bytes(good + b"\0")
        assert name in refused(saved)
        (saved / name).write_bytes(good)


def test_swapped_deleted_added_and_linked_files_are_noticed(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)

    def fresh():
        shutil.rmtree(saved)
        shutil.copytree(copy, saved)

    (saved / "model.safetensors").rename(saved / "x")
    (saved / "sampler.safetensors").rename(saved / "model.safetensors")
    (saved / "x").rename(saved / "sampler.safetensors")
    assert "model.safetensors" in refused(saved)
    for name in os.listdir(copy):
        fresh()
        (saved / name).unlink()
        assert f"{name}: is missing" in refused(saved)
    fresh()
    (saved / "extra").write_text("x")
    assert "extra: is not in the manifest" in refused(saved)
    fresh()
    (saved / "model.safetensors").unlink()
    (saved / "model.safetensors").symlink_to(copy / "model.safetensors")
    assert "is a link" in refused(saved)


def test_the_manifest_of_another_run_or_step_is_noticed(saved, tmp_path):
    other = checkpoint.save(tmp_path / "other", 123, groups(1), STATE)
    shutil.copy(other / "manifest.json", saved / "manifest.json")
    assert "was altered" in refused(saved)
    later = checkpoint.save(tmp_path / "third", 124, groups(), STATE)
    moved = later.rename(later.with_name("step-000000125"))
    assert "is of step 124" in refused(moved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"format": "negsieve checkpoint"}',
        "{" * 999,
        '{"format": "negsieve checkpoint", "seal": ""}',
    ],
)
def test_a_manifest_of_other_content_is_refused(saved, text):
    (saved / "manifest.json").write_text(text)
    assert "manifest.json" in refused(saved)


def sealed(body):
    import hashlib

    data = json.dumps({**body, "seal": "0" * 64}).encode()
    head, tail = data.rsplit(b"0" * 64, 1)
    return head + hashlib.sha256(data).hexdigest().encode() + tail


@pytest.mark.parametrize(
    "change",
    [
        {"step": "1"},
        {"step": True},
        {"files": []},
        {"files": {"../../etc/passwd": {"sha256": "0", "bytes": 1}}},
        {"files": {"../../x.safetensors": {"sha256": "0", "bytes": 1}}},
        {"files": {"model.safetensors": {"sha256": 1, "bytes": 1}}},
        {"files": {"model.safetensors": None}},
        {"state": 3},
    ],
)
def test_a_well_sealed_manifest_of_wrong_shape_is_refused(saved, change):
    body = json.loads((saved / "manifest.json").read_text())
    body.pop("seal")
    (saved / "manifest.json").write_bytes(sealed({**body, **change}))
    refused(saved)


def test_another_format_version_is_refused_by_name_and_left_alone(saved):
    body = json.loads((saved / "manifest.json").read_text())
    body.pop("seal")
    (saved / "manifest.json").write_bytes(sealed({**body, "version": 99}))
    assert "format version 99" in refused(saved)
    with pytest.raises(CheckpointError, match="format version 99"):
        checkpoint.latest(saved.parent)
    assert saved.is_dir()


def test_latest_passes_over_bad_ones_and_keeps_them(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, groups(), {})
    bad = tmp_path / "step-000000002" / "model.safetensors"
    bad.write_bytes(bad.read_bytes()[:-1])
    told = []
    assert checkpoint.latest(tmp_path, warn=told.append) == tmp_path / "step-000000001"
    assert len(told) == 1 and "step 2" in told[0] and str(bad) in told[0] and ".bad" in told[0]
    assert (tmp_path / "step-000000002.bad").is_dir()
    checkpoint.save(tmp_path, 2, groups(), {})
    (tmp_path / "step-000000002" / "model.safetensors").unlink()
    assert checkpoint.latest(tmp_path).name == "step-000000001"
    assert (tmp_path / "step-000000002.bad2").is_dir()


def test_latest_of_nothing(tmp_path):
    assert checkpoint.latest(tmp_path / "none") is None
    (tmp_path / "step-x").mkdir()
    (tmp_path / ".step-000000001.5.tmp").mkdir()
    assert checkpoint.latest(tmp_path) is None
    with pytest.raises(MissingInput):
        checkpoint.load(tmp_path / "step-000000001")


DISK_FULL = """
import os, resource, sys
import torch
from negsieve.errors import StorageError
from negsieve.store import checkpoint
root = sys.argv[1]
tensors = {"model": {"w": torch.ones(4000)}, "sampler": {"m": torch.ones(100)}}
checkpoint.save(root, 1, tensors, {"big": "x" * 3000})
before = sorted(os.listdir(root))
refused = 0
for limit in range(0, 16500, 330):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        checkpoint.save(root, 2, tensors, {"big": "x" * 3000})
    except StorageError as problem:
        assert problem.exit_code == 74 and "bytes" in str(problem), problem
        refused += 1
    assert sorted(os.listdir(root)) == before or limit > 16000, (limit, os.listdir(root))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert checkpoint.load(checkpoint.latest(root)).groups["model"]["w"].sum() == 4000
print(refused)
"""


def test_disk_full_at_fifty_sizes_leaves_the_last_good_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, tmp_path / "root"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 48
