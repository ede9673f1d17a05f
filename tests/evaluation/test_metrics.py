import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.errors import UsageError
from negsieve.evaluation.metrics import (
    ACCURACY,
    DEFAULT_METRICS,
    Metric,
    accuracy,
    hits,
    of_lists,
    pair_auc,
    parse_metric,
    parse_metrics,
)
from negsieve.evaluation.rank import TopK, best
from negsieve.seen import Seen


def slow(name, ranking, relevant, k):
    """Every accuracy metric by its textbook definition, one user at a time."""
    ranking, relevant = ranking[:k], set(relevant)
    found = [place for place, item in enumerate(ranking, 1) if item in relevant]
    if name == "recall":
        return len(found) / len(relevant)
    if name == "recall_capped":
        return len(found) / min(k, len(relevant))
    if name == "precision":
        return len(found) / k
    if name == "hr":
        return float(bool(found))
    if name == "mrr":
        return 1 / found[0] if found else 0.0
    if name == "ndcg":
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))
        return sum(1 / math.log2(place + 1) for place in found) / ideal
    total = sum(hit / place for hit, place in enumerate(found, 1))
    return total / (len(relevant) if name == "map" else min(k, len(relevant)))


@settings(max_examples=1000)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(2, 16))
def test_accuracy_equals_the_textbook(seed, k, items):
    rng = np.random.default_rng(seed)
    users = 6
    score = rng.integers(0, 3, size=(users, items)).astype(np.float64)
    held = rng.random((users, items)) < 0.3
    held[:, 0] |= ~held.any(1)
    ranking = [sorted(range(items), key=lambda i, row=row: (-row[i], i)) for row in score]
    index = Seen(*np.nonzero(held), n_users=users, n_items=items)
    hit = hits(best(torch.from_numpy(score), 20), torch.arange(users), index)
    for name in ACCURACY:
        got = accuracy(Metric(name, k), hit, index.degree())
        wanted = [slow(name, ranking[u], np.flatnonzero(held[u]), k) for u in range(users)]
        assert np.allclose(got.numpy(), wanted, rtol=0, atol=1e-12), name


def test_padding_is_no_hit_of_the_user_before():
    top = TopK(torch.tensor([[0, -1], [-1, -1]]), torch.tensor([[1.0, -np.inf], [-np.inf, -np.inf]]))
    held = Seen([0, 0, 1], [1, 2, 2], n_users=2, n_items=3)  # user 0 holds the key just before user 1's first
    assert not hits(top, torch.arange(2), held).any()


def test_accuracy_equals_ir_measures():
    """Recall, nDCG, P, RR, AP and Success at k are recall, ndcg, precision, mrr, map and hr."""
    import ir_measures
    from ir_measures import AP, RR, P, R, Success, nDCG

    pairs = {"recall": R, "ndcg": nDCG, "precision": P, "map": AP, "hr": Success}
    rng = np.random.default_rng(5)
    for users, items, k in [(20, 30, 5), (10, 8, 10), (30, 60, 20)]:
        score = rng.integers(0, 6, size=(users, items)).astype(np.float32)
        held = rng.random((users, items)) < 0.15
        held[:, 3] |= ~held.any(1)
        index = Seen(*np.nonzero(held), n_users=users, n_items=items)
        top = best(torch.from_numpy(score), k)
        hit = hits(top, torch.arange(users), index)
        judged = [ir_measures.Qrel(str(u), str(i), 1) for u, i in zip(*np.nonzero(held), strict=True)]
        run = [  # the place is the score, so that our tie rule decides and not the judge's
            ir_measures.ScoredDoc(str(u), str(i), float(-place))
            for u, row in enumerate(top.item.tolist())
            for place, i in enumerate(row)
            if i >= 0
        ]
        for name, measure in pairs.items():
            theirs = {one.query_id: one.value for one in ir_measures.iter_calc([measure @ k], judged, run)}
            ours = accuracy(Metric(name, k), hit, index.degree())
            assert np.allclose(ours.numpy(), [theirs[str(u)] for u in range(users)], rtol=0, atol=1e-12), name
        # the judge has no cut-off for RR: the run itself ends at k
        theirs = {one.query_id: one.value for one in ir_measures.iter_calc([RR], judged, run)}
        ours = accuracy(Metric("mrr", k), hit, index.degree())
        assert np.allclose(ours.numpy(), [theirs[str(u)] for u in range(users)], rtol=0, atol=1e-12)


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 1000]))
def test_auc_equals_the_enumeration_of_pairs(seed, levels):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, size=(5, 12)).astype(np.float32)
    score[rng.random((5, 12)) < 0.3] = -np.inf
    held = rng.random((5, 12)) < 0.3
    row, item = np.nonzero(held)
    wanted = []
    for u, i in zip(row, item, strict=True):
        others = [score[u, j] for j in range(12) if not held[u, j] and score[u, j] > -np.inf]
        if score[u, i] == -np.inf:
            wanted.append(0.0)
        elif not others:
            wanted.append(0.5)
        else:
            wanted.append(np.mean([(score[u, i] > o) + (score[u, i] == o) / 2 for o in others]))
    got = pair_auc(torch.from_numpy(score.copy()), torch.from_numpy(row), torch.from_numpy(item))
    assert np.allclose(got.numpy(), wanted, rtol=0, atol=1e-12)


def test_metrics_of_lists_equal_their_formulas():
    item = torch.tensor([[0, 1, 2], [0, 1, -1], [0, 3, 4]])
    top = TopK(item, torch.zeros(3, 3))
    count = torch.tensor([8, 4, 2, 1, 0, 0])
    read = {name: of_lists(parse_metric(name), top, count, n_users=8) for name in ("coverage@2", "coverage@3")}
    assert read == {"coverage@2": 3 / 6, "coverage@3": 5 / 6}
    shown = np.array([3, 2, 1, 1, 1, 0])
    wanted = np.abs(shown[:, None] - shown[None]).sum() / (2 * len(shown) ** 2 * shown.mean())
    assert of_lists(parse_metric("gini@3"), top, count, n_users=8) == pytest.approx(wanted, abs=1e-15)
    assert of_lists(parse_metric("avg_popularity@3"), top, count, n_users=8) == (24 + 8 + 2 + 1 + 0) / 8
    # the item that nobody has counts as if one user had it: log2(8 / 1) = 3
    assert of_lists(parse_metric("novelty@3"), top, count, n_users=8) == (3 * 0 + 2 * 1 + 2 + 3 + 3) / 8


def test_gini_runs_from_equal_to_one_item_takes_all():
    everyone_else = TopK(torch.tensor([[0], [1], [2], [3]]), torch.zeros(4, 1))
    always_first = TopK(torch.zeros(4, 1, dtype=torch.long), torch.zeros(4, 1))
    count = torch.ones(4, dtype=torch.long)
    assert of_lists(parse_metric("gini@1"), everyone_else, count, n_users=4) == 0.0
    assert of_lists(parse_metric("gini@1"), always_first, count, n_users=4) == 0.75


def test_empty_lists_have_numbers_too():
    top = TopK(torch.full((2, 3), -1), torch.full((2, 3), -np.inf))
    for name in ("coverage@3", "gini@3", "avg_popularity@3", "novelty@3"):
        assert of_lists(parse_metric(name), top, torch.tensor([1, 2]), n_users=2) == 0.0


def test_names_are_read_and_written_back():
    assert [str(metric) for metric in parse_metrics(DEFAULT_METRICS)] == list(DEFAULT_METRICS)
    assert parse_metric(" NDCG@10 ") == Metric("ndcg", 10) and parse_metric("auc") == Metric("auc", None)
    assert parse_metrics("recall@5,auc,recall@5") == (Metric("recall", 5), Metric("auc", None))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recal@20", "Did you mean 'recall'"),
        ("recall", "as in 'recall@20'"),
        ("recall@0", "from 1 to 999999"),
        ("recall@-3", "from 1 to 999999"),
        ("recall@٣", "from 1 to 999999"),
        ("auc@5", "takes no cut-off"),
        ("", "no metric is called ''"),
    ],
)
def test_bad_names_are_refused_with_the_cure(text, said):
    with pytest.raises(UsageError, match=said):
        parse_metric(text)


def test_no_metric_at_all_is_refused():
    with pytest.raises(UsageError, match="name at least one"):
        parse_metrics(())
