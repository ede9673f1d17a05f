"""From finished runs to the weights that another run starts from: pre-training, the same for every method.

``train.init_from`` names a run for a part of the model: for all of it, or for the ``target`` or ``source`` side of
a model of two domains, which a run of ``sasrec`` on that domain alone fills. Rows of tables are matched by the ids
of items and users. What was loaded is copied into the new run, which so needs the old one no longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from negsieve.config import RunConfig, resolve
from negsieve.data import snapshot
from negsieve.data.dataset import Dataset
from negsieve.data.vocabulary import Vocabulary
from negsieve.errors import CannotCreate, MissingInput, UsageError
from negsieve.models import named as models
from negsieve.models.base import Model
from negsieve.store import checkpoint
from negsieve.store.run import Run

_UNSEEN_IN_SHAPES = ("heads", "pad_attention")
_FOLDER = "start"

Ids = list[tuple[str, str]]  # (domain, external id), by dense number


@dataclass(frozen=True)
class Start:
    """Weights to start from, named as the model names them, and where they came from, for the run's record.

    told  by part: the run, its model, the SHA-256 of its best weights and of its data, what it started from itself
    """

    weights: dict[str, Tensor]
    told: dict[str, dict]


def read_start(model: Model, dataset: Dataset, config: RunConfig) -> Start:
    """What ``train.init_from`` names, every file of the runs proven.

    Raises MissingInput for a run that is not there or not finished, CheckpointError or DataError for a damaged one,
    UsageError for one that does not fit: a part that the model does not have, another kind or shape of model, items
    or users that the run does not know, a run that knew held-out rows or was chosen on them.
    """
    weights: dict[str, Tensor] = {}
    told: dict[str, dict] = {}
    known = model.state_dict()
    for part, text in config.train.init_from.items():
        prefixes = model.starts()
        if part not in prefixes:
            raise UsageError(f"train.init_from.{part}: {config.model} has the parts {', '.join(prefixes)}")
        run = _opened(part, text)
        own = {name: value for name, value in known.items() if name.startswith(prefixes[part])}
        weights |= _fitted(part, run, own, prefix=prefixes[part], dataset=dataset, config=config)
        told[part] = _record(run)
    return Start(weights, told)


def keep_start(run: Run, start: Start) -> None:
    """Copies what a run starts from into its directory. Raises CannotCreate where it began from other weights."""
    if not (run.path / _FOLDER).exists():
        checkpoint.save(run.path / _FOLDER, 0, {"model": start.weights}, {"from": start.told}, newest=1)
        return
    begun = told_of(run)
    proofs = [{part: one["weights"] for part, one in told.items()} for told in (begun, start.told)]
    if proofs[0] != proofs[1]:
        raise CannotCreate(
            f"{run.path}: was begun from other weights than train.init_from names now. Choose another folder, or "
            "resume that run, which goes on from its own."
        )


def put_start(run: Run, model: Model) -> dict[str, dict]:
    """Loads what the run keeps to start from, if anything, into the model; returns where it came from."""
    if not (run.path / _FOLDER).exists():
        return {}
    found = _kept(run)
    model.load_state_dict(model.state_dict() | found.groups["model"])
    return found.state["from"]


def told_of(run: Run) -> dict[str, dict]:
    """Where the weights that a run began with came from, by part; empty where it began with its own."""
    return _kept(run).state["from"] if (run.path / _FOLDER).exists() else {}


def _kept(run: Run) -> checkpoint.Checkpoint:
    return checkpoint.load(checkpoint.steps(run.path / _FOLDER)[0])


def _opened(part: str, text: str) -> Run:
    run = Run.open(Path(text))
    if not run.finished:
        raise MissingInput(
            f"train.init_from.{part}: {text} is not finished; go on with: negsieve train --resume {text}"
        )
    stamped = run.result().get("stamps")
    if stamped:
        raise UsageError(
            f"train.init_from.{part}: {text} is stamped ({'; '.join(stamped)}), and every figure that came of it would "
            "be too. Start from a run that knew nothing held out and was chosen on valid."
        )
    return run


def _record(run: Run) -> dict:
    folders = checkpoint.steps(run.best)
    files = checkpoint.verify(folders[max(folders)])["files"]
    return {
        "run": str(run.path),
        "model": run.config()["model"],
        "weights": files["model.safetensors"]["sha256"],
        "data_hash": run.result()["data_hash"],
        "started_from": run.result().get("started_from", {}),
    }


def _fitted(
    part: str, run: Run, own: Mapping[str, Tensor], *, prefix: str, dataset: Dataset, config: RunConfig
) -> dict[str, Tensor]:
    """The run's best weights under the names of ``own``, with rows where ``dataset`` has them."""
    found = run.load_best().groups["model"]
    other, data = resolve(run.config()), snapshot.load(run.path / "data")
    who = f"train.init_from.{part}: {run.path} ({other.model})"
    _refuse_other_settings(who, config.model, other.model)
    missing = {name.removeprefix(prefix) for name in own} ^ found.keys()
    if missing:
        wanted = "a run of the same model" if not prefix else "a run of sasrec on that domain alone"
        raise UsageError(f"{who} and {config.model} differ in {sorted(missing)[0]!r}: wanted {wanted}")
    if part != "source":
        _refuse_leak(who, data, dataset)
    weights = {}
    for name, value in own.items():
        short = name.removeprefix(prefix)
        ids = _ids(dataset, f"{part}.{short}")
        taken = found[short]
        if ids is not None:
            taken = taken[_places(who, ids, _ids(data, short))]
        if taken.shape != value.shape:
            raise UsageError(
                f"{who} has {short} of shape {list(taken.shape)}, {config.model} wants {list(value.shape)}: give both "
                "the same settings"
            )
        weights[name] = taken
    return weights


def _refuse_other_settings(who: str, own: str, other: str) -> None:
    """Settings that change what the weights compute and that their shapes do not show."""
    for name in _UNSEEN_IN_SHAPES:
        here, there = models.setting(own, name), models.setting(other, name)
        if here is not None and there is not None and here != there:
            raise UsageError(f"{who} has {name}={there}, {own} has {name}={here}: give both the same")


def _ids(dataset: Dataset, name: str) -> Ids | None:
    """Whose rows a table holds; None for what is no table of items or users."""
    words = name.split(".")
    if words[-1] == "user":
        return [("", one) for one in dataset.users]
    if words[-1] != "item":
        return None
    if "source" in words:
        beside = dataset.aside
        sides = ([(domain, one) for one in ids] for domain, ids in zip(beside.domains, beside.items, strict=True))
        return list(chain.from_iterable(sides))
    domain = dataset.interactions.facts.get("target", {}).get("domain", "")
    return [(domain, one) for one in dataset.items]


def _places(who: str, wanted: Ids, known: Ids) -> Tensor:
    place = {one: at for at, one in enumerate(known)}
    lost = [one for one in wanted if one not in place]
    if lost:
        (domain, one), other = lost[0], known[0]
        where = f" of the domain {domain!r}" if domain else ""
        there = f", such as {other[1]!r}{f' of {other[0]!r}' if other[0] else ''}" if known else ""
        raise UsageError(
            f"{who} was trained on other data: it does not know {len(lost)} of {len(wanted)} rows, the first {one!r}"
            f"{where}; it knows {len(known)}{there}"
        )
    return torch.tensor([place[one] for one in wanted], dtype=torch.long)


def _refuse_leak(who: str, data: Dataset, dataset: Dataset) -> None:
    """Raises UsageError where the run learnt from pairs that ``dataset`` holds out and does not train on."""
    sides = zip(data.pairs("train"), (data.users, data.items), (dataset.users, dataset.items), strict=True)
    user, item = (_renumbered(ids, theirs, ours) for ids, theirs, ours in sides)
    learnt = (user * dataset.n_items + item)[(user >= 0) & (item >= 0)]
    train, held = (_keys(dataset, *parts) for parts in (("train",), ("valid", "test")))
    leaked = int((np.isin(learnt, held) & ~np.isin(learnt, train)).sum())
    if leaked:
        raise UsageError(
            f"{who} learnt from {leaked} pairs that this run holds out to be judged by: give both the same split"
        )


def _keys(dataset: Dataset, *parts: str) -> np.ndarray:
    user, item = dataset.pairs(*parts)
    return (user * dataset.n_items + item).numpy()


def _renumbered(number: Tensor, theirs: Vocabulary, ours: Vocabulary) -> np.ndarray:
    """Their dense numbers as ours, -1 for ids that we do not have."""
    both = [one for one in theirs if one in ours]
    place = np.full(len(theirs), -1, dtype=np.int64)
    place[theirs.numbers(both)] = ours.numbers(both)
    return place[number.numpy()]
