"""cornac: an epoch of BPR by SGD. Runs in cornac's environment."""

from __future__ import annotations

import numpy as np
from turns import Turns, read


def main() -> None:
    from cornac.data import Dataset
    from cornac.models import BPR

    turns = Turns()
    spec, data = turns.spec, read(turns.spec["arrays"])
    rows = [(int(user), int(item), 1.0) for user, item in data["train"]]
    train = Dataset.from_uir(rows, seed=spec.get("seed", 0))
    ours = [
        np.array([known.get(i, 0) for i in range(int(size))])  # 0 stands in for what train never had
        for known, size in zip((train.uid_map, train.iid_map), data["sizes"], strict=True)
    ]

    class Paced(BPR):
        """BPR that takes turns: an epoch is one call of ``_fit_sgd``."""

        def _fit_sgd(self, *args, **settings):
            done = super()._fit_sgd(*args, **settings)
            turns.finished(factors=self.factors)
            return done

        def factors(self):
            user, item = self.u_factors[ours[0]], self.i_factors[ours[1]]
            bias = self.i_biases[ours[1]][:, None]
            return np.hstack([user, np.ones((len(user), 1), np.float32)]), np.hstack([item, bias])

    model = Paced(
        k=spec.get("dim", 64),
        max_iter=10**6,
        learning_rate=spec.get("lr", 0.05),
        lambda_reg=spec.get("l2", 0.01),
        num_threads=spec["threads"],
        seed=spec.get("seed", 0),
        verbose=False,
    )
    turns.ready()
    model.fit(train)


if __name__ == "__main__":
    main()
