"""What takes no training on Amazon Toy and Game: popularity counted in train, half ties, 99 drawn items."""

import numpy as np
import pytest

from negsieve.config import resolve
from negsieve.evaluation.evaluator import Evaluator
from negsieve.evaluation.reference import popularity
from negsieve.loading import load_data

NAMES = [f"{name}@{k}" for name in ("ndcg", "hr") for k in (5, 10, 20, 50)]
FLOOR = {
    "toy": ("game", (0.098, 0.126, 0.154, 0.188, 0.146, 0.234, 0.348, 0.517), 0.522, 0.288),
    "game": ("toy", (0.145, 0.183, 0.223, 0.269, 0.221, 0.341, 0.503, 0.735), 0.680, 0.086),
}


@pytest.mark.parametrize("target", FLOOR)
def test_the_floor_of_popularity(shared, target):
    source, wanted, auc, cold = FLOOR[target]
    data = {"target": target, "source_domains": source, "duplicates": "keep", "split": {"method": "loo"}}
    dataset = load_data(shared("amazon-toy-game"), config=resolve({"data": data}).data)
    found = []
    for seed in (1, 2, 3):
        evaluator = Evaluator(dataset, metrics=[*NAMES, "auc"], protocol="sampled", ties="half", seed=seed)
        found.append(evaluator.evaluate(popularity(dataset, count="rows"), "test"))
    mean = {name: np.mean([one.metrics[f"sampled99/{name}"] for one in found]) for name in [*NAMES, "auc"]}
    for name, value in zip(NAMES, wanted, strict=True):
        assert mean[name] == pytest.approx(value, abs=0.004), name
    assert mean["ndcg@10"] == pytest.approx(wanted[1], abs=0.003)
    assert mean["hr@10"] == pytest.approx(wanted[5], abs=0.004) and mean["auc"] == pytest.approx(auc, abs=0.004)
    groups, hit = found[0].groups, "sampled99/hr@10"
    assert groups["cold_items"]["pairs"] / found[0].pairs == pytest.approx(cold, abs=0.001)
    assert groups["no_source"]["users"] == 0 and groups["warm"][hit] > groups["cold_items"][hit]
