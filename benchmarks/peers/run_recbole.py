"""RecBole 1.2.1: BPR and LightGCN epochs, full ranking, its sampler. Runs in RecBole's environment.

What RecBole 1.2.1 needs on a current stack is put right here, and changes nothing of what is timed: numpy's
``float_`` and its like and scipy's ``dok_matrix._update`` are gone, ``torch.load`` refuses its checkpoints, and
its dynamic sampler must be handed the model.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from turns import Turns, read


def shim() -> None:
    for name, now in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, now)
    scipy.sparse.dok_matrix._update = lambda self, data: self._dict.update(data)
    load = torch.load
    torch.load = lambda *args, **settings: load(*args, **{"weights_only": False} | settings)


def write_atomic(folder: Path, data: dict) -> None:
    """The arrays as RecBole's files with its own split; its validation part repeats one train pair."""
    (folder / "bench").mkdir()
    for part, pairs in (("train", data["train"]), ("valid", data["train"][:1]), ("test", data["test"])):
        with (folder / "bench" / f"bench.{part}.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\n")
            np.savetxt(file, pairs, fmt="%d", delimiter="\t")


def prepare(spec: dict, data: dict, folder: Path):
    """(config, train loader, test loader, model, trainer) as RecBole's quick start makes them."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    write_atomic(folder, data)
    candidates = spec.get("candidates", 0)
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "train_neg_sample_args": {
            "distribution": "uniform",
            "sample_num": 1,
            "alpha": 1.0,
            "dynamic": candidates > 0,
            "candidate_num": candidates,
        },
        "train_batch_size": spec.get("batch", 2048),
        "eval_batch_size": 4096 * 16,
        "learning_rate": spec.get("lr", 1e-3),
        "embedding_size": spec.get("dim", 64),
        "n_layers": 3,
        "reg_weight": 0.0,
        "metrics": ["Recall", "NDCG"],
        "topk": [20, 50],
        "valid_metric": "NDCG@20",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO", "mode": "full"},
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "seed": spec.get("seed", 0),
    }
    name = "LightGCN" if spec["work"].startswith("lightgcn") else "BPR"
    config = Config(model=name, dataset="bench", config_dict=settings)
    init_seed(config["seed"], True)
    torch.set_num_threads(spec["threads"])
    train, _, test = data_preparation(config, create_dataset(config))
    model = get_model(name)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    train.get_model(model)
    return config, train, test, model, trainer


class Some:
    """The next few batches of a loader that is shuffled anew whenever it runs out; all of them for None."""

    def __init__(self, loader, n: int | None) -> None:
        self.loader, self.n, self.left = loader, n, None

    def __iter__(self):
        if self.n is None:
            return iter(self.loader)
        return itertools.islice(self._endless(), self.n)

    def _endless(self):
        while True:
            if self.left is None:
                self.left = iter(self.loader)
            yield from self.left
            self.left = None

    def __len__(self) -> int:
        return self.n or len(self.loader)

    def __getattr__(self, name):
        return getattr(self.loader, name)


def numbers(train, sizes) -> tuple[np.ndarray, np.ndarray]:
    """RecBole's number of each of our users and items; one that it never saw has its padding's, 0."""
    dataset = train._dataset
    known = [dataset.field2token_id[field] for field in ("user_id", "item_id")]
    return tuple(
        np.array([tokens.get(str(i), 0) for i in range(int(size))]) for tokens, size in zip(known, sizes, strict=True)
    )


def main() -> None:
    turns = Turns()
    spec, data = turns.spec, read(turns.spec["arrays"])
    shim()
    with tempfile.TemporaryDirectory() as folder:
        _, train, test, model, trainer = prepare(spec, data, Path(folder))
        ours = numbers(train, data["sizes"])
        if spec["work"] == "sample":
            sample(turns, train, data, ours)
        if spec["work"] == "evaluate":
            evaluate(turns, model, trainer, test, spec, ours)
        some = Some(train, spec.get("batches"))
        share = 1.0 if some.n is None else some.n / len(train)

        def unit() -> dict:
            loss = trainer._train_epoch(some, 0)
            return {"share": share, "loss": loss / len(some)}

        def factors():
            model.eval()
            with torch.no_grad():
                if spec["work"].startswith("lightgcn"):
                    user, item = model.forward()
                else:
                    user, item = model.user_embedding.weight, model.item_embedding.weight
                return user[ours[0]].numpy(), item[ours[1]].numpy()

        turns.each(unit, factors=factors)


def sample(turns: Turns, train, data: dict, ours) -> None:
    """One exact uniform negative for each of ``draws`` train rows in shuffled order, in batches."""
    spec = turns.spec
    rows = np.random.default_rng(0).permutation(len(data["train"]))[: spec["draws"]]
    users = ours[0][data["train"][rows, 0]]
    sampler, size, k = train._sampler, spec.get("batch", 2048), spec["negatives"]

    def unit() -> dict:
        for first in range(0, len(users), size):
            batch = users[first : first + size]
            sampler.sample_by_user_ids(batch, batch, k)
        return {"share": len(users) / len(data["train"])}

    turns.each(unit)


def evaluate(turns: Turns, model, trainer, test, spec: dict, ours) -> None:
    """Recall and NDCG at 20 and 50 of all users, with the vectors that the driver hands to every side."""
    with np.load(spec["factors"]) as given, torch.no_grad():
        for table, side, place in (
            (model.user_embedding, "user", ours[0]),
            (model.item_embedding, "item", ours[1]),
        ):
            table.weight[place] = torch.from_numpy(given[side])

    def unit() -> dict:
        found = trainer.evaluate(test, load_best_model=False)
        return {"quality": {"recall@20": float(found["recall@20"]), "ndcg@20": float(found["ndcg@20"])}}

    turns.each(unit)


if __name__ == "__main__":
    main()
