import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from negsieve.errors import UsageError
from negsieve.evaluation.significance import Paired, against_baseline, holm, paired


@given(st.integers(0, 10**6), st.integers(2, 60))
def test_paired_equals_scipy(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.random(n), rng.random(n)
    got, wanted = paired(a, b), stats.ttest_rel(a, b)
    interval = wanted.confidence_interval(0.95)
    assert got.p == pytest.approx(wanted.pvalue, rel=1e-9) and got.n == n
    assert (got.difference, got.low, got.high) == pytest.approx((np.mean(a - b), interval.low, interval.high), rel=1e-9)


def test_equal_differences_have_p_one_and_never_nan():
    same = np.array([0.1, 0.7, 0.2])
    assert paired(same, same) == Paired(0.0, 0.0, 0.0, 1.0, 3)
    assert paired(same + 0.1, same).p == 1.0  # equal up to rounding
    assert paired([0.4], [0.1]) == Paired(pytest.approx(0.3), None, None, 1.0, 1)


def test_paired_refuses_what_cannot_be_compared():
    for a, b in (([1.0], [1.0, 2.0]), ([], []), ([[1.0]], [[1.0]])):
        with pytest.raises(UsageError, match="equally long"):
            paired(a, b)
    with pytest.raises(UsageError, match="finite"):
        paired([1.0, np.nan], [1.0, 2.0])


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04; a later one never falls below: .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []
    with pytest.raises(UsageError, match=r"0\.\.1"):
        holm([float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_accepts_what_the_step_down_procedure_accepts(p):
    level, rejected = 0.05, set()
    for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] * (len(p) - step) > level:
            break
        rejected.add(place)
    assert {i for i, value in enumerate(holm(p)) if value <= level} == rejected


def table(seed, users, shift=0.0):
    rng = np.random.default_rng(seed)
    return {"user": np.array(users), "ndcg@20": rng.random(len(users)) + shift}


def test_against_baseline_averages_seeds_aligns_users_and_corrects():
    users = list(range(30))
    base = [table(seed, users) for seed in range(3)]
    better = [table(seed + 10, users[::-1], shift=0.4) for seed in range(2)]
    rows = against_baseline({"uniform": base, "dns": better, "copy": base}, "uniform", metric="ndcg@20")
    assert [row.method for row in rows] == ["uniform", "dns", "copy"]
    first, dns, copy = rows
    assert first.against is None and first.p_holm is None and first.seeds == 3
    means = [one["ndcg@20"].mean() for one in base]
    assert (first.mean, first.std) == pytest.approx((np.mean(means), np.std(means, ddof=1)))
    wanted = paired(
        np.mean([one["ndcg@20"][::-1] for one in better], axis=0), np.mean([one["ndcg@20"] for one in base], axis=0)
    )
    assert dns.against == wanted and dns.p_holm == pytest.approx(2 * wanted.p) and dns.seeds == 2
    assert copy.against.p == copy.p_holm == 1.0
    assert against_baseline({"only": base[:1]}, "only", metric="ndcg@20")[0].std is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"dns": []}, "'dns' has no finished seed"),
        (lambda t: t | {"dns": [table(1, [0, 1, 5])]}, "'dns', seed number 0 measured 3 users that are not the 3"),
        (lambda t: t | {"dns": [{"user": np.arange(3), "ndcg@10": np.zeros(3)}]}, "Did you mean 'ndcg@10'"),
        (lambda t: t | {"dns": [table(1, [0, 1, 1])]}, "each user once"),
        (lambda t: {"unifrom": t["uniform"]}, "Did you mean 'unifrom'"),
    ],
)
def test_against_baseline_refuses_what_does_not_pair(change, said):
    with pytest.raises(UsageError, match=said):
        against_baseline(change({"uniform": [table(0, [0, 1, 2])]}), "uniform", metric="ndcg@20")
