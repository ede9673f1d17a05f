"""Sampled figures: their ties, beside those of full ranking, and who had nothing in the source domains."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.data.dataset import Dataset
from negsieve.data.domains import SourceRows
from negsieve.data.interactions import Interactions
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import UsageError
from negsieve.evaluation import sampled
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.fallback import Popular
from negsieve.evaluation.metrics import ACCURACY, Metric, accuracy, at_place, parse_metrics
from negsieve.evaluation.reference import popularity
from negsieve.training.build import make_evaluator, reported


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_a_metric_of_one_place_is_that_of_a_list_with_one_relevant_item(name, k):
    place = torch.arange(30)
    wanted = accuracy(Metric(name, k), torch.arange(k) == place[:, None], torch.ones(30, dtype=torch.long))
    assert torch.allclose(at_place(Metric(name, k), place.double()), wanted, atol=1e-15, rtol=0)


def test_half_a_tie_counts_between_two_places():
    place = torch.tensor([4.5, 0.0, 5.0], dtype=torch.double)
    assert at_place(Metric("hr", 5), place).tolist() == [1.0, 1.0, 0.0]
    assert at_place(Metric("ndcg", 5), place).tolist() == [1 / np.log2(6.5), 1.0, 0.0]
    with pytest.raises(UsageError, match="no accuracy metric"):
        at_place(Metric("coverage", 5), place)


@pytest.mark.parametrize("ties", sampled.TIES)
def test_ties_equal_a_walk_over_the_candidates(ties, random_case, dataset_of, table_of):
    parts, scores = random_case(11, users=20, items=30)
    data = dataset_of(parts)
    chosen = sampled.candidates(data, "test", n_negatives=8, seed=3)
    metrics = parse_metrics("hr@3,ndcg@5,mrr@4,auc")
    found = sampled.pair_values(table_of(scores), chosen, metrics, chunk=7, ties=ties)
    for at, (user, item, others) in enumerate(zip(chosen["user"], chosen["item"], chosen["negatives"], strict=True)):
        others = others[others >= 0]
        own, their = scores[user, item], scores[user, others]
        equal = their == own
        lost = {"number": (equal & (others < item)).sum(), "half": equal.sum() / 2, "optimistic": 0}[ties]
        place = (their > own).sum() + lost
        assert found["hr@3"][at] == (place < 3)
        assert found["ndcg@5"][at] == pytest.approx((place < 5) / np.log2(place + 2), abs=1e-12)
        assert found["mrr@4"][at] == pytest.approx((place < 4) / (place + 1), abs=1e-12)
        share = 0.5 if not len(their) else 1 - ((their > own).sum() + equal.sum() / 2) / len(their)
        assert found["auc"][at] == pytest.approx(share, abs=1e-12)


def test_both_protocols_stand_beside_each_other(random_case, dataset_of, table_of):
    parts, scores = random_case(4)
    data, names = dataset_of(parts), "ndcg@5,coverage@5,auc"
    one = {
        protocol: Evaluator(data, metrics=names.replace("coverage@5,", "") if protocol == "sampled" else names,
                            protocol=protocol, n_negatives=3)
        for protocol in ("full", "sampled", "both")
    }  # fmt: skip
    full, drawn, both = (one[protocol].evaluate(table_of(scores), "test") for protocol in one)
    assert both.metrics == full.metrics | drawn.metrics and not both.biased and drawn.biased
    assert list(both.metrics) == one["both"].names == ["ndcg@5", "coverage@5", "auc", "sampled3/ndcg@5", "sampled3/auc"]
    for name, group in both.groups.items():
        assert group == full.groups[name] | drawn.groups[name]
    assert set(both.per_user) == {"user", "ndcg@5", "auc", "sampled3/ndcg@5", "sampled3/auc"}
    assert one["both"].name_of("ndcg@5") == "ndcg@5" and one["sampled"].name_of("ndcg@5") == "sampled3/ndcg@5"


def test_an_epoch_may_be_chosen_by_the_sampled_metric(random_case, dataset_of):
    data = dataset_of(random_case(4)[0])
    settings = {"train": {"metric": "ndcg@10"}, "evaluate": {"metrics": ["hr@5", "coverage@5"], "test_metrics": []}}
    config = resolve(settings, {"train": {"select_by": "sampled"}, "evaluate": {"n_negatives": 7}})
    assert config.chooser == reported(config, "ndcg@10") == "sampled7/ndcg@10" and config.protocol == "both"
    chooser, final = make_evaluator(config, data), make_evaluator(config, data, final=True)
    assert chooser.names == ["sampled7/ndcg@10", "sampled7/hr@5"]
    assert {"ndcg@10", "sampled7/ndcg@10", "coverage@5"} <= set(final.names)
    assert np.array_equal(chooser.candidates("valid")["negatives"], final.candidates("valid")["negatives"])
    plain = resolve(settings)
    assert plain.chooser == reported(plain, "ndcg@10") == "ndcg@10" and plain.protocol == "full"
    with pytest.raises(UsageError, match="makes no lists"):
        make_evaluator(resolve({"train": {"metric": "coverage@5", "select_by": "sampled"}}), data)


def beside(last_of_user):
    """Three users with rows train, train, valid, test; ``last_of_user``: after how many of them a source row comes."""
    user = np.repeat(np.arange(3), 4)
    item = np.array([0, 1, 2, 3, 1, 2, 3, 0, 0, 2, 1, 3])
    target = np.arange(12) * 10
    log = Interactions(user, item, *(Vocabulary(map(str, range(n))) for n in (3, 6)))
    row = np.sort([40 * who + 10 * after - 5 for who, after in last_of_user.items()])
    sides = np.array(sorted(last_of_user)), np.zeros(len(row), dtype=np.int64), row, target
    source = SourceRows(*sides, timestamp=None, domains=("s",), items=(Vocabulary("x"),))
    return Dataset("three", log, np.tile(np.array([0, 0, 1, 2], dtype=np.int8), 3), aside=source)


def test_users_without_source_rows_are_a_row_of_their_own():
    data = beside({0: 1, 2: 3})
    evaluator = Evaluator(data, metrics="hr@1", protocol="both", n_negatives=2)
    on_valid = evaluator.evaluate(popularity(data), "valid").groups["no_source"]
    assert (on_valid["users"], on_valid["pairs"]) == (2, 2), "user 2's source row comes after the valid row"
    on_test = evaluator.evaluate(popularity(data), "test")
    assert on_test.groups["no_source"]["users"] == 1 and {"hr@1", "sampled2/hr@1"} <= set(on_test.groups["no_source"])
    assert sum(on_test.groups[name]["pairs"] for name in ("warm", "cold_users", "cold_items")) == on_test.pairs
    alone = Evaluator(replace(data, aside=None), metrics="hr@1").evaluate(popularity(data), "test")
    assert "no_source" not in alone.groups


def test_popularity_counts_users_or_rows():
    data = beside({0: 1})
    log = data.interactions
    again = Interactions(*(np.append(side, side[0]) for side in (log.user, log.item)), log.users, log.items)
    repeated = Dataset("again", again, np.append(data.part, np.int8(0)))
    assert popularity(repeated).count.tolist() == popularity(data).count.tolist()
    assert popularity(repeated, count="rows").count[0] == popularity(data).count[0] + 1
    with pytest.raises(UsageError, match="wanted 'users' or 'rows'"):
        popularity(data, count="clicks")
    assert isinstance(popularity(data), Popular)


def test_a_target_with_fewer_items_than_are_drawn_takes_all_and_says_so():
    found = Evaluator(beside({0: 1}), metrics="hr@1", protocol="sampled", n_negatives=99).evaluate(
        popularity(beside({0: 1})), "test"
    )
    assert found.facts["pairs_with_fewer"] == 3 and "sampled99/hr@1" in found.metrics


def test_settings_that_make_no_sense_are_refused(dataset_of):
    with pytest.raises(UsageError, match="ties='odd': wanted one of number, half, optimistic"):
        Evaluator(dataset_of([[0, 1, 2]]), ties="odd")
    with pytest.raises(UsageError, match="wanted one of full, sampled, both"):
        Evaluator(dataset_of([[0, 1, 2]]), protocol="bot")
