"""LightFM: an epoch of BPR or WARP with Adagrad. Runs in LightFM's environment."""

from __future__ import annotations

import numpy as np
from turns import Turns, csr, read


def main() -> None:
    from lightfm import LightFM

    turns = Turns()
    spec, data = turns.spec, read(turns.spec["arrays"])
    pairs = csr(data["train"], data["sizes"]).tocoo()
    model = LightFM(
        no_components=spec.get("dim", 64),
        loss=spec.get("loss", "bpr"),
        learning_rate=spec.get("lr", 0.05),
        random_state=spec.get("seed", 0),
    )

    def factors():
        (item_bias, item), (_, user) = model.get_item_representations(), model.get_user_representations()
        return np.hstack([user, np.ones((len(user), 1), np.float32)]), np.hstack([item, item_bias[:, None]])

    def unit() -> None:
        model.fit_partial(pairs, epochs=1, num_threads=spec["threads"])

    turns.each(unit, factors=factors)


if __name__ == "__main__":
    main()
