"""implicit: an epoch of BPR by hogwild SGD, and its ranking metrics. Runs in implicit's environment."""

from __future__ import annotations

import numpy as np
from turns import Turns, csr, read


def train(turns: Turns, data: dict) -> None:
    """Epochs of BPR; implicit starts an epoch when the callback of the last one returns."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    spec = turns.spec
    pairs = csr(data["train"], data["sizes"])
    model = BayesianPersonalizedRanking(
        factors=spec.get("dim", 64),
        learning_rate=spec.get("lr", 0.01),
        regularization=spec.get("l2", 0.01),
        iterations=10**6,
        num_threads=spec["threads"],
        random_state=spec.get("seed", 0),
    )
    turns.ready()
    factors = lambda: (model.user_factors, model.item_factors)  # noqa: E731
    model.fit(pairs, show_progress=False, callback=lambda *_: turns.finished(factors=factors))


def evaluate(turns: Turns, data: dict) -> None:
    """``ranking_metrics_at_k`` at 50 for all users, on the vectors that the driver hands to every side."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    spec = turns.spec
    model = AlternatingLeastSquares(factors=spec.get("dim", 64), num_threads=spec["threads"])
    with np.load(spec["factors"]) as given:
        model.user_factors, model.item_factors = given["user"], given["item"]
    train, test = csr(data["train"], data["sizes"]), csr(data["test"], data["sizes"])

    def unit() -> dict:
        found = ranking_metrics_at_k(
            model, train, test, K=spec.get("k", 50), show_progress=False, num_threads=spec["threads"]
        )
        return {"quality": {f"ndcg@{spec.get('k', 50)}": float(found["ndcg"])}}

    turns.each(unit)


if __name__ == "__main__":
    turns = Turns()
    {"mf_sgd": train, "evaluate": evaluate}[turns.spec["work"]](turns, read(turns.spec["arrays"]))
