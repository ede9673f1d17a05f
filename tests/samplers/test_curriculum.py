"""The curriculum of RealHNS epoch by epoch, and the filter's bound that goes with it."""

from __future__ import annotations

import pytest

from negsieve.errors import UsageError
from negsieve.samplers.curriculum import Always, Growing, stages_done

# first epoch, last epoch, general, cross, bound over tightness
TABLE = [
    (1, 5, 0, 0, None),
    (6, 7, 1, 0, 0.230),
    (8, 9, 2, 0, 0.265),
    (10, 11, 3, 0, 0.304),
    (12, 13, 4, 0, 0.350),
    (14, 15, 5, 0, 0.402),
    (16, 17, 6, 0, 0.463),
    (18, 19, 7, 0, 0.532),
    (20, 21, 8, 0, 0.612),
    (22, 23, 8, 1, 0.704),
    (24, 25, 8, 2, 0.809),
    (26, 27, 8, 2, 0.930),
    (28, 40, 8, 2, 1.0),
]


@pytest.mark.parametrize(("first", "last", "general", "cross", "share"), TABLE)
def test_the_table_of_the_paper(first, last, general, cross, share):
    for epoch in range(first, last + 1):
        assert Growing().counts(epoch - 1) == (general, cross)
        if share is not None:
            assert min(1.0, 1.15 ** stages_done(epoch - 1, mu=5, psi=2) / 5) == pytest.approx(share, abs=6e-4)


def test_in_proportion_the_cross_ones_come_earlier():
    counts = [Growing(first=False).counts(epoch) for epoch in range(30)]
    whole = [Growing().counts(epoch) for epoch in range(30)]
    assert [sum(one) for one in counts] == [sum(one) for one in whole]
    assert counts[5:27:2][:10] == [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (8, 2)]


def test_other_paces():
    assert [sum(Growing(3, 1, mu=1, psi=1, eta=2).counts(epoch)) for epoch in range(5)] == [0, 2, 4, 4, 4]
    assert Growing(8, 2, mu=0).counts(0) == (1, 0)
    assert Always(4, 2).counts(0) == Always(4, 2).counts(99) == Always(4, 2).most() == (4, 2)
    assert Growing(8, 2).most() == (8, 2)
    with pytest.raises(UsageError, match="psi and eta of 1 or more"):
        Growing(psi=0)
