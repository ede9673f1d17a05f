"""LensKit: an epoch of its FlexMF with the BPR preset, by Adam without decay. Runs in LensKit's environment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from turns import Turns, read


def main() -> None:
    from lenskit.data import from_interactions_df
    from lenskit.flexmf import FlexMFImplicitScorer
    from lenskit.training import TrainingOptions

    turns = Turns()
    spec, data = turns.spec, read(turns.spec["arrays"])
    torch.set_num_threads(spec["threads"])
    known = [pd.Index(np.arange(int(size))) for size in data["sizes"]]
    pairs = pd.DataFrame({"user_id": data["train"][:, 0], "item_id": data["train"][:, 1]})
    dataset = from_interactions_df(pairs, users=known[0], items=known[1])
    scorer = FlexMFImplicitScorer(
        preset="bpr",
        embedding_size=spec.get("dim", 64),
        batch_size=spec.get("batch", 2048),
        learning_rate=spec.get("lr", 1e-3),
        regularization=0.0,
    )
    trainer = scorer.create_trainer(dataset, TrainingOptions(device="cpu", rng=spec.get("seed", 0)))
    ours = [vocabulary.numbers(side) for vocabulary, side in zip((dataset.users, dataset.items), known, strict=True)]

    def factors():
        with torch.no_grad():
            user, item = scorer.model.u_embed.weight, scorer.model.i_embed.weight
            return user[ours[0]].numpy(), item[ours[1]].numpy()

    def unit() -> dict:
        return {"loss": float(trainer.train_epoch()["loss"])}

    turns.each(unit, factors=factors)


if __name__ == "__main__":
    main()
