"""A run from start to result: directory, lock, data snapshot, training, final figures.

``start`` makes a run directory that holds all it takes to go on, to re-run and to recommend;
``resume`` goes on with one: bit for bit on the same kind of CPU; a GPU adds in an order of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from negsieve.config import RunConfig, resolve
from negsieve.cores import usable_cores
from negsieve.data import snapshot
from negsieve.data.dataset import Dataset
from negsieve.errors import CannotCreate, ConfigError
from negsieve.evaluation.outcome import Evaluation
from negsieve.kernels import native
from negsieve.models.named import order_read
from negsieve.store import atomic
from negsieve.store.environment import differences, environment
from negsieve.store.run import Run
from negsieve.training import build, candidates, initial, memory
from negsieve.training.engine import TorchEngine
from negsieve.training.engines import choose
from negsieve.training.trainer import Trainer
from negsieve.training.watch import Watcher

_DIAGNOSTICS = ("loss", "false_negative_rate", "hardness", "dead_rows", "coverage", "popularity")


def start(
    config: RunConfig,
    dataset: Dataset,
    *,
    path: Path,
    trusted: Collection[str] = (),
    watch: Watcher | None = None,
    data_from: Path | None = None,
) -> dict[str, Any]:
    """Trains in the run directory ``path`` and returns its result.

    A directory that holds a run of the same configuration is gone on with; a finished one is
    returned as it is.

    trusted    specs of the form ``module:function`` that the user typed, and so may be imported
    data_from  a snapshot of the same data set to link to instead of writing another

    ``train.init_from`` names finished runs to start from, see ``initial.read_start``: what is taken of them is
    copied into the run, which so resumes without them.

    Raises DataError, ConfigError, UsageError or CapabilityError before anything is written when
    the configuration cannot work; CannotCreate when ``path`` holds anything else; Locked when it is in use.
    """
    build.refuse_unfit(config, dataset)
    device = build.pick_device(config.train.device)
    engine = choose(build.tried(config, dataset, trusted=trusted), config.train, device)
    config = config.model_copy(update={"loss": build.name_loss(config.loss, config.sampler)})
    begin = initial.read_start(build.make_model(config, dataset), dataset, config) if config.train.init_from else None
    facts = {"name": dataset.name, "hash": dataset.hash, "users": dataset.n_users, "items": dataset.n_items}
    use_threads(config.train.threads)
    run = Run.create(path, config=config.plain(), data=facts, env=environment(str(device)) | {"engine": engine.name})
    if (run.data() or facts)["hash"] != dataset.hash:
        raise CannotCreate(f"{path}: holds a run on other data. Choose another folder, or resume that run.")
    with run.lock():
        if run.finished:
            return _proven(run)
        if begin is not None:
            initial.keep_start(run, begin)
        if not (run.path / "data").exists():
            _place_data(run, dataset, data_from)
        return _work(run, config, dataset, device=device, trusted=trusted, watch=watch)


def resume(path: Path, *, trusted: Collection[str] = (), watch: Watcher | None = None) -> dict[str, Any]:
    """Goes on with a run, from its newest whole checkpoint or from the beginning; returns its result.

    A finished run is returned as it is. Raises MissingInput, CheckpointError, DataError or Locked.
    """
    run = Run.open(path)
    with run.lock():
        if run.finished:
            return _proven(run)
        if not (run.path / "data").exists():
            raise ConfigError(f"{path}: stopped before its data was saved; start it anew with the same command")
        config = resolve(run.config())
        device = build.pick_device(config.train.device)
        use_threads(config.train.threads)
        for line in differences(run.env(), environment(str(device)) | {"engine": _engine_of(run)}):
            run.log(f"resumed elsewhere, so the same bits are not promised: {line}")
        dataset = snapshot.load(run.path / "data")
        return _work(run, config, dataset, device=device, trusted=trusted, watch=watch)


def use_threads(wanted: int) -> None:
    """Lets torch and the kernels use ``wanted`` threads; 0: the cores that this process may use.

    torch counts the machine's cores, whatever a container grants, and threads without a core of their own make
    the others wait. A lower number that torch was given before, by ``OMP_NUM_THREADS`` or a call, stands.
    """
    torch.set_num_threads(wanted or min(torch.get_num_threads(), usable_cores()))


def _engine_of(run: Run) -> str:
    """The engine that a run began with; runs from before there was a choice had one alone."""
    return run.env().get("engine", TorchEngine.name)


def _proven(run: Run) -> dict[str, Any]:
    """The result of a finished run whose best model is still whole. Raises CheckpointError otherwise."""
    run.load_best()
    return run.result()


def _place_data(run: Run, dataset: Dataset, data_from: Path | None) -> None:
    with atomic.whole_folder(run.path / "data") as folder:
        if data_from is None:
            snapshot.write(dataset, folder)
            return
        for file in sorted(data_from.iterdir()):
            try:
                os.link(file, folder / file.name)
            except OSError:  # another file system
                (folder / file.name).write_bytes(file.read_bytes())


def _work(
    run: Run,
    config: RunConfig,
    dataset: Dataset,
    *,
    device: torch.device,
    trusted: Collection[str],
    watch: Watcher | None,
) -> dict[str, Any]:
    begun = time.perf_counter()
    memory.give_back()  # of reading and storing the data
    engine, kernels = _engine_of(run), native.name() or "none"
    run.log(f"{config.model}, {config.sampler}, {config.loss} on {dataset.name} ({dataset.hash[:12]}), {device}")
    run.log(f"engine {engine}, kernels {kernels}, threads {torch.get_num_threads()}")
    model, seed = build.make_model(config, dataset), config.train.seed
    for part, told in initial.put_start(run, model).items():
        run.log(f"{part} starts from {told['run']}, {told['model']}, weights {told['weights'][:12]}")
    sampler = build.make_sampler(
        config.sampler,
        dataset,
        dim=model.dim,
        seed=seed,
        trusted=trusted,
        oracle=config.oracle,
        order=order_read(config.model),
    )
    trainer = Trainer(
        model,
        sampler,
        loss=build.make_loss(config.loss, dataset, seed=seed),
        dataset=dataset,
        evaluator=build.make_evaluator(config, dataset, device=device),
        run=run,
        config=config.train,
        device=device,
        sampler_name=config.sampler,
        oracle=config.oracle,
        engine=engine,
        watch=watch,
    )
    before = 0.0
    newest = run.load_latest()
    if newest is None:
        run.rewind(last_epoch=-1, step=0)
    else:
        trainer.restore(newest)
        run.log(f"resumed at epoch {trainer.standing.epoch}, step {trainer.standing.step}")
        before = sum(sum(record["seconds"].values()) for record in run.metrics())
    trainer.fit()
    trainer.release()
    memory.give_back()  # what the final evaluation may need as much of
    result = _finish(run, config, dataset, trainer, lambda: before + time.perf_counter() - begun)
    trainer.watch.end(result)
    return result


def _finish(
    run: Run, config: RunConfig, dataset: Dataset, trainer: Trainer, seconds: Callable[[], float]
) -> dict[str, Any]:
    """Restores the best epoch and measures it: the figures come from saved state only."""
    best = trainer.restore_best()
    standing = trainer.standing
    sampled = config.protocol != "full"
    n = config.evaluate.n_negatives
    saved = candidates.kept(run, n, seed=config.evaluate.seed) if sampled else None
    evaluator = build.make_evaluator(config, dataset, final=True, device=trainer.device, candidates=saved)
    encoder = trainer.model.frozen()
    found = {part: evaluator.evaluate(encoder, part) for part in ("valid", "test") if len(dataset.rows(part))}
    if sampled:
        candidates.keep(run, evaluator, parts=found, n_negatives=n, seed=config.evaluate.seed)
    _write_per_user(run, dataset, found)
    chosen = next((record for record in run.metrics() if record["epoch"] == best), {})
    result = {
        "run": str(run.path),
        "name": config.name or run.path.name,
        "model": config.model,
        "sampler": config.sampler,
        "loss": config.loss,
        "seed": config.train.seed,
        "engine": _engine_of(run),
        "kernels": native.name() or "none",
        "best_epoch": best,
        "epochs": standing.epoch,
        "stopped": standing.stopped,
        "selection": {
            "metric": config.chooser,
            "part": config.train.select_on if standing.best_epoch is not None else None,
        },
        "oracle": list(config.oracle),
        "stamps": stamps(config),
        "started_from": initial.told_of(run),
        "metrics": {part: one.metrics for part, one in found.items()},
        "groups": {part: one.groups for part, one in found.items()},
        "biased": config.protocol == "sampled",
        "protocol": config.protocol,
        "n_negatives": n if sampled else None,
        "false_negative_rate": chosen.get("false_negative_rate"),
        "diagnostics": {name: chosen.get(name) for name in _DIAGNOSTICS},
        "seconds": round(seconds(), 2),
        "data_hash": dataset.hash,
    }
    run.finish(result)
    run.log(f"finished after {standing.epoch} epochs ({standing.stopped}), best epoch {best}")
    run.log(f"memory {memory.peak() / 1e6:.0f} MB at most, whatever else this process did among it")
    return result


def stamps(config: RunConfig) -> list[str]:
    """What a reader of any figure of the run must know: which held-out parts reached it, and how."""
    found = [f"oracle: the sampler knew {', '.join(config.oracle)}"] if config.oracle else []
    return found + (["chosen on test"] if config.train.select_on == "test" else [])


def _write_per_user(run: Run, dataset: Dataset, found: dict[str, Evaluation]) -> None:
    """``per_user.parquet``: a row a user and part, with the external id and every per-user metric."""
    import numpy as np

    columns: dict[str, list] = {"user_id": [], "part": []}
    names = sorted({name for one in found.values() for name in one.per_user if name != "user"})
    for part, one in found.items():
        user = one.per_user["user"]
        columns["user_id"] += [dataset.users[int(number)] for number in user]
        columns["part"] += [part] * len(user)
        for name in names:
            columns.setdefault(name, []).append(one.per_user.get(name, np.full(len(user), np.nan)))
    run.write_per_user({name: np.concatenate(part) if name in names else part for name, part in columns.items()})
