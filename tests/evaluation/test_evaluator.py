import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.errors import DataError, NegsieveError, UsageError
from negsieve.evaluation import sampled
from negsieve.evaluation.evaluator import Evaluator

METRICS = ("recall@3", "ndcg@3", "ndcg@5", "auc", "mrr@20", "coverage@3")


def slow(parts, scores, part, *, metric, k, only=None):
    """Metric of every user with something held out (restricted by ``only``), one user at a time."""
    number = {"valid": 1, "test": 2}[part]
    count = (parts == 0).sum(0)
    found = {}
    for u in range(len(parts)):
        row = scores[u] if (parts[u] == 0).any() else count.astype(float)
        hidden = [i for i in range(parts.shape[1]) if 0 <= parts[u, i] < number]
        every = [i for i in range(parts.shape[1]) if parts[u, i] == number]
        held = [i for i in every if only is None or only(u, i)]
        if not held:
            continue
        ranking = sorted((i for i in range(parts.shape[1]) if i not in hidden), key=lambda i: (-row[i], i))
        if metric == "auc":
            others = [i for i in ranking if i not in every]
            wins = [np.mean([(row[i] > row[j]) + (row[i] == row[j]) / 2 for j in others] or [0.5]) for i in held]
            found[u] = np.mean(wins)
            continue
        places = [place for place, i in enumerate(ranking[:k], 1) if i in held]
        if metric == "recall":
            found[u] = len(places) / len(held)
        elif metric == "mrr":
            found[u] = 1 / places[0] if places else 0.0
        else:
            ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(held)) + 1))
            found[u] = sum(1 / math.log2(place + 1) for place in places) / ideal
    return found


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), part=st.sampled_from(["valid", "test"]), chunk=st.sampled_from([1, 4, 256]))
def test_headline_groups_and_users_equal_the_slow_twin(seed, part, chunk, random_case, dataset_of, table_of):
    parts, scores = random_case(seed)
    known_user, known_item = (parts == 0).any(1), (parts == 0).any(0)
    groups = {
        "warm": lambda u, i: known_user[u] and known_item[i],
        "cold_users": lambda u, i: not known_user[u],
        "cold_items": lambda u, i: known_user[u] and not known_item[i],
    }
    got = Evaluator(dataset_of(parts), metrics=METRICS, chunk=chunk).evaluate(table_of(scores), part)
    assert list(got.metrics) == list(METRICS)
    for metric, k in [("recall", 3), ("ndcg", 3), ("ndcg", 5), ("auc", None), ("mrr", 20)]:
        name = metric if k is None else f"{metric}@{k}"
        wanted = slow(parts, scores, part, metric=metric, k=k)
        assert got.per_user["user"].tolist() == list(wanted)
        assert np.allclose(got.per_user[name], list(wanted.values()), rtol=0, atol=1e-12)
        assert got.metrics[name] == pytest.approx(np.mean(list(wanted.values())), abs=1e-12)
        for group, only in groups.items():
            wanted = slow(parts, scores, part, metric=metric, k=k, only=only)
            assert got.groups[group]["users"] == len(wanted)
            assert (name in got.groups[group]) == bool(wanted)
            if wanted:
                assert got.groups[group][name] == pytest.approx(np.mean(list(wanted.values())), abs=1e-12)
    assert (
        sum(group["pairs"] for group in got.groups.values())
        == got.pairs
        == (parts == (1 if part == "valid" else 2)).sum()
    )
    assert json.loads(json.dumps(got.summary(), allow_nan=False))["part"] == part and not got.biased


def test_coverage_counts_the_items_of_all_lists(dataset_of, table_of):
    got = Evaluator(dataset_of([[0, 2, -1, -1], [2, 0, -1, -1]]), metrics="coverage@1").evaluate(
        table_of(torch.tensor([[9.0, 1.0, 0.0, 0.0], [1.0, 9.0, 0.0, 0.0]])), "test"
    )
    assert got.metrics == {"coverage@1": 0.5} and list(got.per_user) == ["user"]


def test_valid_is_masked_for_test_but_not_for_valid(dataset_of, table_of):
    data = dataset_of([[0, 1, 2, -1]])
    evaluator = Evaluator(data, metrics="mrr@4")
    scores = table_of(torch.tensor([[9.0, 8.0, 7.0, 6.0]]))
    assert evaluator.evaluate(scores, "valid").metrics["mrr@4"] == 1.0
    assert evaluator.evaluate(scores, "test").metrics["mrr@4"] == 1.0
    assert evaluator.evaluate(table_of(torch.tensor([[9.0, 7.0, 8.0, 6.0]])), "valid").metrics["mrr@4"] == 0.5


def test_a_held_out_item_that_is_also_in_train_counts_as_a_miss_and_is_reported(dataset_of, table_of):
    data = dataset_of([[0, 2, -1]])
    log = data.interactions
    again = type(log)(np.array([0, 0, 0]), np.array([0, 1, 0]), log.users, log.items)
    repeated = type(data)("toy", again, np.array([0, 2, 2], dtype=np.int8))
    got = Evaluator(repeated, metrics="recall@3,auc").evaluate(table_of(torch.tensor([[3.0, 2.0, 1.0]])), "test")
    assert got.unreachable == 1 and got.pairs == 2 and got.metrics == {"recall@3": 0.5, "auc": 0.5}


def test_an_exhausted_user_is_counted(dataset_of, table_of):
    got = Evaluator(dataset_of([[0, 0, 2], [0, 2, -1]]), metrics="recall@2,ndcg@2,auc").evaluate(
        table_of(torch.zeros(2, 3)), "test"
    )
    assert got.per_user["recall@2"].tolist() == [1.0, 1.0] and got.per_user["auc"].tolist() == [0.5, 0.5]


def test_a_cold_user_is_measured_on_popularity(dataset_of, table_of):
    parts = [[0, -1, -1], [0, 0, -1], [-1, 2, 2]]
    against = table_of(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]]))
    got = Evaluator(dataset_of(parts), metrics="mrr@3").evaluate(against, "test")
    assert got.metrics["mrr@3"] == 0.5  # items 0, 1, 2 by train users
    assert got.groups["cold_users"] == {"users": 1, "pairs": 2, "mrr@3": 0.5}
    assert got.groups["warm"] == {"users": 0, "pairs": 0}


def test_moving_the_train_index_changes_nothing(dataset_of, table_of, random_case):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    parts, scores = random_case(1)
    data = dataset_of(parts)
    evaluator = Evaluator(data, metrics=METRICS, device="cuda")
    before = evaluator.evaluate(table_of(torch.from_numpy(scores).cuda()), "test")
    data.train.to("cuda")
    again = Evaluator(data, metrics=METRICS, device="cuda")
    assert evaluator.evaluate(table_of(torch.from_numpy(scores).cuda()), "test").metrics == before.metrics
    assert again.evaluate(table_of(torch.from_numpy(scores).cuda()), "test").metrics == before.metrics
    assert Evaluator(data, metrics=METRICS).evaluate(table_of(scores), "test").metrics == before.metrics


def test_sampled_results_are_labelled_and_equal_the_slow_twin(dataset_of, table_of, random_case):
    for seed in range(8):
        parts, scores = random_case(seed, items=17)
        evaluator = Evaluator(dataset_of(parts), metrics="hr@2,ndcg@2,auc", protocol="sampled", n_negatives=4, chunk=3)
        got = evaluator.evaluate(table_of(scores), "test")
        assert got.biased and got.protocol == "sampled"
        assert list(got.metrics) == ["sampled4/hr@2", "sampled4/ndcg@2", "sampled4/auc"]
        chosen, count = evaluator.candidates("test"), (parts == 0).sum(0)
        value = {name: {} for name in got.metrics}
        for u, i, negatives in zip(chosen["user"], chosen["item"], chosen["negatives"], strict=True):
            row = scores[u] if (parts[u] == 0).any() else count
            others = [j for j in negatives if j >= 0]
            place = 1 + sum((-row[j], j) < (-row[i], i) for j in others)
            auc = np.mean([(row[i] > row[j]) + (row[i] == row[j]) / 2 for j in others] or [0.5])
            for name, one in zip(value, (place <= 2, (place <= 2) / math.log2(place + 1), auc), strict=True):
                value[name].setdefault(u, []).append(one)
        for name, users in value.items():
            wanted = [np.mean(one) for one in users.values()]
            assert np.allclose(got.per_user[name], wanted, rtol=0, atol=1e-12)
            assert got.metrics[name] == pytest.approx(np.mean(wanted), abs=1e-12)
        assert sum(group["pairs"] for group in got.groups.values()) == got.pairs


def test_saved_candidates_are_reused_and_foreign_ones_refused(dataset_of, table_of, random_case):
    parts, scores = random_case(3)
    data = dataset_of(parts)
    saved = sampled.candidates(data, "test", n_negatives=3, seed=7)
    one = Evaluator(data, metrics="ndcg@2", protocol="sampled", candidates={"test": saved})
    two = Evaluator(data, metrics="ndcg@2", protocol="sampled", n_negatives=3, seed=7)
    assert one.evaluate(table_of(scores), "test").metrics == two.evaluate(table_of(scores), "test").metrics
    foreign = Evaluator(data, metrics="ndcg@2", protocol="sampled", candidates={"valid": saved})
    with pytest.raises(UsageError, match="drawn for another split"):
        foreign.evaluate(table_of(scores), "valid")


def test_bad_arguments_say_what_is_wanted(dataset_of, table_of):
    data = dataset_of([[0, 2, -1]])
    with pytest.raises(UsageError, match="Did you mean 'sampled'"):
        Evaluator(data, protocol="sample")
    with pytest.raises(UsageError, match="no lists to measure coverage@5"):
        Evaluator(data, protocol="sampled", metrics="coverage@5,ndcg@5")
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        Evaluator(data).evaluate(table_of(torch.zeros(1, 3)), "tets")
    with pytest.raises(DataError, match="no row is held out in the valid part of 'toy'"):
        Evaluator(data).evaluate(table_of(torch.zeros(1, 3)), "valid")
    for protocol in ("full", "sampled"):
        with pytest.raises(NegsieveError, match="user number 0 hold NaN"):
            Evaluator(data, protocol=protocol).evaluate(table_of(torch.full((1, 3), torch.nan)), "test")
