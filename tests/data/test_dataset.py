"""What a data set hands out of its log: rows and pairs of parts, from the log's own memory where that can be."""

from dataclasses import replace

import numpy as np
import pytest
import torch


def parted(small, part):
    return replace(small, part=np.array(part, dtype=np.int8))


@pytest.mark.parametrize("parts", [("train",), ("valid",), ("test",), ("valid", "test"), ("test", "train")])
@pytest.mark.parametrize(
    "part", [[0, 0, 0, 0, 1, 2, 2], [0, 2, 1, 0, 1, 2, -1], [2, 2, 2, 1, 1, 0, 0], [0] * 7, [-1] * 7]
)
def test_pairs_are_the_rows_of_their_parts(small, part, parts):
    data, wanted = parted(small, part), [("train", "valid", "test").index(one) for one in parts]
    rows = [at for at, one in enumerate(part) if one in wanted]
    user, item = data.pairs(*parts)
    assert user.dtype == item.dtype == torch.long and data.rows(*parts).tolist() == rows
    assert user.tolist() == [int(data.interactions.user[at]) for at in rows]
    assert item.tolist() == [int(data.interactions.item[at]) for at in rows]


def test_rows_that_stand_together_are_not_copied(small):
    log = small.interactions
    user, _ = small.pairs("train")
    assert user.data_ptr() == log.user.ctypes.data
    user, _ = small.pairs("valid", "test")
    assert user.data_ptr() == log.user[4:].ctypes.data
    user, _ = parted(small, [0, 1, 0, 0, 0, 2, 2]).pairs("train")
    assert not np.shares_memory(user.numpy(), log.user)


@pytest.mark.parametrize("kind", ["int32", "read-only", "strided"])
def test_memory_that_a_tensor_cannot_have_is_copied(small, kind):
    log = small.interactions
    user = log.user.astype(np.int32) if kind == "int32" else log.user.copy()
    if kind == "strided":
        user = np.stack([user, user], axis=1)[:, 0]
    if kind == "read-only":
        user.flags.writeable = False
    data = replace(small, interactions=replace(log, user=user))
    found, _ = data.pairs("train")
    assert torch.equal(found, small.pairs("train")[0]) and found.is_contiguous()
    assert not np.shares_memory(found.numpy(), user)
