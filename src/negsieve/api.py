"""The main job in one call each, and an estimator for those who think in ``fit`` and ``recommend``."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from negsieve import lists
from negsieve.config import RunConfig, resolve
from negsieve.data.dataset import Dataset
from negsieve.errors import UsageError
from negsieve.loading import configured, dataset_of
from negsieve.loading import load_data as load_data
from negsieve.report import run_page
from negsieve.store.atomic import whole_folder
from negsieve.store.run import check_name
from negsieve.study.compare import run_study
from negsieve.study.plan import cross, make_plan, parse_method
from negsieve.study.work import StudyWatcher
from negsieve.trained import Trained, open_trained
from negsieve.training import candidates, session
from negsieve.training.build import make_evaluator
from negsieve.training.watch import Watcher
from negsieve.vectors import export


def train(
    data: Any = None,
    *,
    model: str | None = None,
    sampler: str | None = None,
    loss: str | None = None,
    epochs: int | None = None,
    lr: float | str | None = None,
    l2: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    engine: str | None = None,
    target: str | None = None,
    source: str | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Trains one model and returns its result: ``run``, ``best_epoch``, ``metrics``, ``false_negative_rate``, ...

    data      what ``load_data`` takes, or a Dataset
    model     a spec such as ``"mf:dim=64"`` or ``"lightgcn:layers=3"``
    sampler   a spec such as ``"dns_mn:m=8,n=32"``, or ``"module:function:key=value"``
    loss      a spec; by default the one of the sampler's paper
    engine    "auto" (compiled kernels where they serve the run, else torch), "compiled" or "torch"
    target    the domain that is trained on and recommended, where the log has several
    source    domains that stand beside it, for models of several domains
    settings  nested settings of ``negsieve.config.RunConfig``, for example ``{"train": {"patience": 5}}``
    out       the run directory; by default a new one below ``runs/``

    Raises NegsieveError subclasses with what was found, what was wanted and what to do.
    """
    arguments = _arguments(model, sampler, loss, epochs, lr, l2, batch_size, seed, device, engine)
    config = configured(data, settings, arguments | _domains(target, source))
    dataset = dataset_of(data, config)
    path = Path(out) if out is not None else fresh_path(config, dataset)
    trusted = [spec for spec in (sampler,) if spec]
    result = session.start(config, dataset, path=path, trusted=trusted, watch=watch)
    run_page(path)
    return result


def resume(run: str | Path, *, sampler: str | None = None, watch: Watcher | None = None) -> dict[str, Any]:
    """Goes on with a stopped run and returns its result.

    ``sampler`` must repeat a ``module:function`` sampler, because a name in a file is never imported.
    """
    result = session.resume(Path(run), trusted=[sampler] if sampler else [], watch=watch)
    run_page(Path(run))
    return result


def evaluate(
    run: str | Path | Trained,
    *,
    part: str = "test",
    metrics: Sequence[str] | None = None,
    protocol: str | None = None,
    n_negatives: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Measures a finished run again: other metrics, another part, another protocol.

    metrics   names, or one text with commas; those of the run's configuration by default
    protocol  "full", "sampled" or "both" (``n_negatives`` items a held-out one, drawn once and saved in the run):
              biased, and named so
    seed      of the drawn items, for another draw than the run's own

    Returns ``run, oracle, stamps, part, protocol, biased, users, pairs, metrics, groups``. Raises UsageError
    for a metric that does not exist or that the protocol cannot measure.
    """
    trained = run if isinstance(run, Trained) else open_trained(run)
    layers: list[dict[str, Any]] = [trained.config.plain()]
    if metrics:
        names = _texts(metrics)
        layers += [{"evaluate": {"metrics": names, "test_metrics": ()}, "train": {"metric": names[0]}}]
    asked = {"protocol": protocol, "n_negatives": n_negatives, "seed": seed}
    layers += [{"evaluate": {key: value for key, value in asked.items() if value is not None}}]
    if protocol is not None:  # what the epoch was chosen by asks for nothing here
        layers += [{"train": {"select_by": "full"}}]
    config = resolve(*layers)
    n, seed = config.evaluate.n_negatives, config.evaluate.seed
    saved = candidates.kept(trained.run, n, seed=seed) if config.protocol != "full" else None
    evaluator = make_evaluator(config, trained.dataset, final=True, candidates=saved)
    found = evaluator.evaluate(trained.model.frozen(), part).summary()
    if saved is not None:
        candidates.keep(trained.run, evaluator, parts=[part], n_negatives=n, seed=seed)
    return {"run": str(trained.run.path), "oracle": list(config.oracle), "stamps": session.stamps(config)} | found


def compare(
    data: Any = None,
    *,
    models: Sequence[str] = ("mf",),
    samplers: Sequence[str] = ("uniform", "popularity", "dns", "dns_mn", "pdns"),
    losses: Sequence[str] = ("auto",),
    methods: Sequence[str] = (),
    own: Sequence[str] = (),
    seeds: int | Sequence[int] = 3,
    baseline: str | None = None,
    target: str | None = None,
    source: str | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    name: str | None = None,
    trusted: Collection[str] | None = None,
    watch: StudyWatcher | None = None,
) -> dict[str, Any]:
    """Trains every model x sampler x loss, and the extra ``methods`` (``model/sampler[/loss]``), over seeds.

    own       settings of some methods: ``name:train.key=value,...`` for the methods whose model,
              sampler or loss has that name, for example ``"pdns:train.l2=0.003"``
    seeds     how many (from ``train.seed`` on), or which
    baseline  the method that others are tested against; uniform on the first model by default
    target, source  domains, as in ``train``
    out       the study's folder; the same call on the same folder goes on with what is missing
    jobs      runs at a time, each in a process of its own when more than one
    trusted   ``module:function`` samplers that may be imported: by default those given here

    Returns the table with ``rows``, ``study`` (folder) and ``report`` (page).
    """
    config = configured(data, settings, _domains(target, source))
    dataset = dataset_of(data, config)
    models, samplers, losses, methods, own = map(_one_or_more, (models, samplers, losses, methods, own))
    chosen = cross(models, samplers, losses) + [parse_method(text) for text in methods]
    several = range(config.train.seed, config.train.seed + seeds) if isinstance(seeds, int) else seeds
    name = check_name(name or _as_name(dataset.name), kind="study")
    plan = make_plan(name, config, methods=chosen, seeds=tuple(several), baseline=baseline, own=own)
    root = Path(out) if out is not None else Path("studies") / name
    trusted = trusted if trusted is not None else [*samplers, *(one.sampler for one in chosen)]
    return run_study(plan, dataset, root=root, jobs=jobs, trusted=trusted, watch=watch)


class Recommender:
    """``Recommender(model="mf", sampler="dns").fit(data).recommend(users, k=20)``.

    The constructor takes what ``train`` takes. ``fit`` trains in a run directory, ``out`` or a
    temporary one that lives as long as this object; ``save`` keeps it. Fitting again in ``out`` on
    other data is refused.
    """

    def __init__(
        self,
        *,
        model: str = "mf",
        sampler: str = "uniform",
        loss: str = "auto",
        epochs: int | None = None,
        lr: float | str | None = None,
        l2: float | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        device: str | None = None,
        engine: str | None = None,
        target: str | None = None,
        source: str | Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
    ) -> None:
        self._arguments = {
            "model": model,
            "sampler": sampler,
            "loss": loss,
            "epochs": epochs,
            "lr": lr,
            "l2": l2,
            "batch_size": batch_size,
            "seed": seed,
            "device": device,
            "engine": engine,
            "target": target,
            "source": source,
            "settings": settings,
        }
        self._out = out
        self._trained: Trained | None = None
        self.result_: dict[str, Any] | None = None

    def fit(self, data: Any, *, watch: Watcher | None = None) -> Recommender:
        """Trains on ``data`` (what ``load_data`` takes, or a Dataset). ``result_`` then holds the figures."""
        if self._out is None:
            folder = tempfile.mkdtemp(prefix="negsieve-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "run"
        else:
            path = Path(self._out)
        self.result_ = train(data, out=path, watch=watch, **self._arguments)
        self._trained = open_trained(path)
        return self

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """The recommender of a finished run directory."""
        trained = open_trained(run)
        found = cls(model=trained.config.model, sampler=trained.config.sampler, loss=trained.config.loss)
        found._trained, found.result_ = trained, trained.run.result()
        return found

    @property
    def trained(self) -> Trained:
        if self._trained is None:
            raise UsageError("this Recommender is not fitted: call fit(data) first")
        return self._trained

    def recommend(self, users: Sequence[str] | None = None, *, k: int = 20, exclude_seen: bool = True) -> pa.Table:
        """``negsieve.recommend`` on the fitted run."""
        return lists.recommend(self.trained, users, k=k, exclude_seen=exclude_seen)

    def similar(self, items: Sequence[str], *, k: int = 20) -> pa.Table:
        """``negsieve.similar`` on the fitted run."""
        return lists.similar(self.trained, items, k=k)

    def evaluate(self, *, part: str = "test", metrics: Sequence[str] | None = None) -> dict[str, Any]:
        """``negsieve.evaluate`` on the fitted run."""
        return evaluate(self.trained, part=part, metrics=metrics)

    def export(self, out: str | Path, *, format: str = "parquet") -> Path:
        """``negsieve.export`` on the fitted run."""
        return export(self.trained, out, format=format)

    def save(self, path: str | Path) -> Path:
        """Copies the run directory to ``path``, whole or not at all. Raises CannotCreate where ``path`` exists."""
        with whole_folder(path) as folder:
            shutil.copytree(self.trained.run.path, folder, dirs_exist_ok=True)
        return Path(path)


def fresh_path(config: RunConfig, dataset: Dataset) -> Path:
    """A new run directory's path: ``runs/<name>-<time>-<hash of the configuration>``."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    digest = hashlib.blake2b(repr((config.plain(), dataset.hash)).encode(), digest_size=3).hexdigest()
    short = f"{dataset.name}-{config.model.split(':')[0]}-{config.sampler.split(':')[0]}"
    own = check_name(config.name) if config.name else _as_name(short)
    name = f"{own[:40]}-{stamp}-{digest}"
    taken = (Path("runs") / (name if again == 1 else f"{name}-{again}") for again in count(1))
    return next(path for path in taken if not path.exists())


def _as_name(text: str) -> str:
    """``text`` with what a folder's name may not hold replaced, so that any file's name will do."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:64] or "data"


def _texts(names: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(names.split(",")) if isinstance(names, str) else tuple(names)


def _one_or_more(specs: str | Sequence[str]) -> Sequence[str]:
    """One spec as a list of one: specs hold commas, and letters are no specs."""
    return (specs,) if isinstance(specs, str) else specs


def _arguments(model, sampler, loss, epochs, lr, l2, batch_size, seed, device, engine) -> dict[str, Any]:
    top = {"model": model, "sampler": sampler, "loss": loss}
    fitting = {"epochs": epochs, "lr": lr, "l2": l2, "batch_size": batch_size}
    inner = fitting | {"seed": seed, "device": device, "engine": engine}
    layer: dict[str, Any] = {key: value for key, value in top.items() if value is not None}
    layer["train"] = {key: value for key, value in inner.items() if value is not None}
    return layer


def _domains(target: str | None, source: str | Sequence[str]) -> dict[str, Any]:
    named = {"target": target} if target is not None else {}
    if source:
        named["source_domains"] = source if isinstance(source, str) else list(source)
    return {"data": named}
