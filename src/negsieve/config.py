"""The resolved configuration of a run: what is written beside it and what re-runs it.

Precedence: ``--set`` over arguments over the config file over these defaults. Unknown keys are
refused with the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from negsieve.errors import ConfigError, UsageError, nearest
from negsieve.layers import merge
from negsieve.recbole import translated

_ELSEWHERE = {
    "learning_rate": "train.lr",
    "train_batch_size": "train.batch_size",
    "stopping_step": "train.patience",
    "reg_weight": "train.l2",
    "reg_weights": "train.l2",
    "learner": "train.optimiser",
    "optimizer": "train.optimiser",
    "eval_step": "train.validate_every",
    "valid_metric": "train.metric",
    "embedding_size": "model",
    "n_layers": "model",
    "loss_type": "loss",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SplitConfig(_Strict):
    """How interactions are split; ``auto``: given, else by time, else at random per user.

    With a target auto is given, else loo. ``min_train``, ``needs_source`` and ``drop_last_user``
    say of whom leave-one-out judges something.
    """

    method: str = "auto"
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 42
    folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    valid_from_train: float = Field(0.0, ge=0.0, lt=1.0)
    min_train: int | None = Field(None, ge=1, description="loo: train rows a user needs; with a target 2")
    needs_source: bool = Field(True, description="loo: a user needs a source row before the test row")
    drop_last_user: bool = Field(False, description="loo: without the last user of the log, as some published code")

    @field_validator("ratios")
    @classmethod
    def _whole(cls, ratios: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
            raise ValueError("three shares, train, valid and test, that sum to 1, such as [0.8, 0.1, 0.1]")
        return ratios


class DataConfig(_Strict):
    """What is read and how it is cleaned."""

    source: str = "online-retail"
    format: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    rating_min: float | None = None
    negatives: str | None = Field(None, description="a file of pairs that users turned down")
    negatives_below: float | None = Field(None, description="rows rated lower are explicit negatives")
    target: str | None = Field(None, description="the domain that is the catalogue; its log needs a domain column")
    source_domains: tuple[str, ...] = Field((), description="domains that stand beside the target, as side information")
    duplicates: Literal["first", "last", "sum", "keep"] = "first"
    core: int | tuple[int, int] = 0
    since: str | float | None = None
    until: str | float | None = None
    skip_bad: int = Field(0, ge=0)
    memory_limit: str | None = None
    split: SplitConfig = SplitConfig()

    @field_validator("source_domains", mode="before")
    @classmethod
    def _domains_listed(cls, value: Any) -> Any:
        """``game,book`` as a list."""
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _beside_something(self) -> DataConfig:
        if self.source_domains and self.target is None:
            raise ValueError(
                f"data.target beside data.source_domains={','.join(self.source_domains)}: the domain that is trained on"
            )
        return self

    @field_validator("since", "until", mode="before")
    @classmethod
    def _date_as_text(cls, value: Any) -> Any:
        """YAML reads ``2011-01-01`` as a date, which JSON could not hold."""
        return value.isoformat() if isinstance(value, date) else value


class TrainConfig(_Strict):
    """How the model is fitted.

    ``optimiser=online_sgd`` takes every row of a batch for a step of its own, in turn; the others take the batch.

    ``l2`` multiplies half the squared layer-0 rows that a batch used; ``weight_decay`` is the
    optimiser's own and acts on every parameter. They are not interchangeable.
    """

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(2048, ge=1)
    drop_last: bool = False
    optimiser: Literal["adam", "adamw", "sgd", "online_sgd", "adagrad", "sparse_adam", "rowwise_adagrad"] = "adam"
    lr: float | str = Field(1e-3, description="a number, or a schedule such as step:0.01:0.95:5")
    betas: tuple[float, float] = Field((0.9, 0.999), description="how fast Adam, in any form, forgets")
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    l2: float = Field(1e-4, ge=0)
    validate_every: int = Field(1, ge=1)
    validate_from: int = Field(0, ge=0, description="the epoch, counted from 0, whose end is validated first")
    patience: int = Field(10, ge=0, description="validations without a gain before stopping; 0: never stop early")
    metric: str = "ndcg@20"
    select_on: Literal["valid", "test"] = "valid"
    select_by: Literal["full", "sampled"] = Field(
        "full", description="how metric is measured where the best epoch is chosen; sampled stands in the result too"
    )
    full_users: Literal["refuse", "skip"] = "refuse"
    checkpoint_seconds: float = Field(5.0, ge=0, description="an epoch's end is saved when the last save is older")
    checkpoint_every: int = Field(0, ge=0, description="steps between saves inside an epoch; 0: epochs' ends only")
    device: str = "auto"
    engine: Literal["auto", "compiled", "torch"] = Field(
        "auto", description="what does the steps; auto: compiled kernels where they serve the run, else torch"
    )
    init_from: dict[str, str] = Field(
        default_factory=dict, description="finished runs whose weights this one starts from: RUN, or PART=RUN,PART=RUN"
    )
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(0, ge=0, description="0: the cores that this process may use")
    seed: int = 42

    @model_validator(mode="after")
    def _decay_reaches_every_row(self) -> TrainConfig:
        if self.optimiser in ("online_sgd", "sparse_adam", "rowwise_adagrad") and self.weight_decay:
            raise ValueError(
                f"weight_decay=0 with optimiser {self.optimiser}, which leaves rows without a gradient alone; "
                "l2 acts on the rows of a batch"
            )
        return self

    @model_validator(mode="after")
    def _only_adam_has_betas(self) -> TrainConfig:
        if "adam" not in self.optimiser and self.betas != TrainConfig.model_fields["betas"].default:
            raise ValueError(f"no betas with optimiser {self.optimiser}, which has none")
        return self

    @field_validator("init_from", mode="before")
    @classmethod
    def _by_part(cls, value: Any) -> Any:
        """``RUN`` as ``{"model": RUN}``, ``target=RUN,source=RUN`` as the mapping that it says."""
        if isinstance(value, Mapping):
            return {part: str(run) if isinstance(run, Path) else run for part, run in value.items()}
        if not isinstance(value, str | Path):
            return value
        parts = [one.partition("=") for one in str(value).split(",") if one.strip()]
        return {(name if equals else "model").strip(): (run if equals else name).strip() for name, equals, run in parts}

    @field_validator("betas")
    @classmethod
    def _below_one(cls, betas: tuple[float, float]) -> tuple[float, float]:
        first, second = betas
        if not (0 < first < 1 and 0 < second < 1 and first * first < second):
            raise ValueError("two numbers between 0 and 1, the square of the first below the second: [0.9, 0.98]")
        return betas

    @field_validator("lr", mode="plain")
    @classmethod
    def _above_zero(cls, value: Any) -> float | str:
        if isinstance(value, str):
            return _rate(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError("a finite number, or a schedule such as step:0.01:0.95:5")
        if value <= 0:
            raise ValueError("a number above 0")
        return float(value)

    @field_validator("metric")
    @classmethod
    def _spelled_as_found(cls, value: str) -> str:
        """``NDCG@020`` -> ``ndcg@20``, the name under which the metric is found."""
        name, at, cut = value.strip().lower().partition("@")
        return f"{name}{at}{cut.lstrip('0') or cut}"


def _rate(text: str) -> float | str:
    """A learning rate that was typed: a number, or a schedule that stays text. Raises ValueError."""
    from negsieve.schedule import Schedule

    try:
        rate = Schedule(text)
    except UsageError as error:
        raise ValueError(f"a finite number or a schedule: {error}") from error
    if rate.reach()[1] <= 0 or rate.reach()[0] < 0:
        raise ValueError("a number above 0, or a schedule that stays there")
    return float(rate) if rate.kind == "constant" else text


class EvaluateConfig(_Strict):
    """What is measured on validation and test.

    ``protocol`` is for the final figures only: ``sampled`` ones are named ``sampled<n>/...``, ``both`` has them
    beside those of full ranking. ``train.select_by`` says what the best epoch is chosen by. Metrics of whole lists
    (coverage, gini, ...) have no sampled form: with ``sampled`` the default ``test_metrics`` leave them out, others
    are refused.
    """

    metrics: tuple[str, ...] = ("recall@20", "ndcg@20", "hr@20", "mrr@20", "precision@20", "map@20")
    test_metrics: tuple[str, ...] = ("auc", "coverage@20", "gini@20", "avg_popularity@20", "novelty@20")
    protocol: Literal["full", "sampled", "both"] = "full"
    n_negatives: int = Field(99, ge=1)
    seed: int = Field(42, ge=0, description="of the items that the sampled protocol draws, for all alike")
    ties: Literal["number", "half", "optimistic"] = Field(
        "number", description="equal scores in the sampled protocol: by item number, as in full ranking, or halved"
    )
    chunk: int = Field(256, ge=1)


class RunConfig(_Strict):
    """Everything that decides a run. ``model``, ``sampler`` and ``loss`` are specs: ``name:key=value,...``."""

    name: str | None = None
    data: DataConfig = DataConfig()
    model: str = "mf"
    sampler: str = "uniform"
    loss: str = "auto"
    oracle: tuple[Literal["valid", "test"], ...] = Field(
        (), description="held-out parts that the sampler may know: an experiment, stamped as one"
    )
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("oracle", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """``valid,test`` and ``valid+test`` as a list, each part once and in order."""
        parts = re.split(r"[,+\s]+", value.strip()) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return parts
        known = [part for part in ("valid", "test") if part in parts]
        return known + [part for part in parts if part not in ("", "valid", "test")]

    @property
    def chooser(self) -> str:
        """The name of the metric that the best epoch is chosen by, as validations log it."""
        sampled = self.train.select_by == "sampled"
        return f"sampled{self.evaluate.n_negatives}/{self.train.metric}" if sampled else self.train.metric

    @property
    def protocol(self) -> str:
        """How final figures are measured: with what the best epoch was chosen by, in any case."""
        asked = self.evaluate.protocol
        return "both" if asked == "full" and self.train.select_by == "sampled" else asked

    def plain(self) -> dict[str, Any]:
        """A dictionary of plain values that YAML and JSON can hold, and ``resolve`` reads back."""
        return self.model_dump(mode="json")


def resolve(*layers: Mapping[str, Any]) -> RunConfig:
    """One configuration from layers of nested dictionaries, later ones winning.

    RecBole's ``train_neg_sample_args`` is taken for ``sampler``, in any layer.

    Raises ConfigError that names the key, what was found, what was wanted.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merge(merged, translated(layer))
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as problem:
        raise ConfigError("\n".join(_explain(one) for one in problem.errors())) from None


def _explain(problem) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place}: no such setting.{_suggest(place)}"
    wanted = f"{problem['msg'][0].lower()}{problem['msg'][1:]}".replace("input should be ", "").removeprefix(
        "value error, "
    )
    wanted = {"a valid tuple": "a list such as [1, 2]", "a valid string": f"text, quoted: '{problem['input']}'"}.get(
        wanted, wanted
    )
    return f"{place}: found {problem['input']!r}, wanted {wanted}"


def _suggest(place: str) -> str:
    """The setting that somebody who typed ``place`` probably meant; other libraries' words count."""
    leaf = place.rsplit(".", 1)[-1].lower()
    known = setting_names()
    meant = _ELSEWHERE.get(leaf) or next((name for name in known if name.rsplit(".", 1)[-1] == leaf), None)
    return f" Did you mean {meant!r}?" if meant else nearest(place, known)


def setting_names(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Every setting with its dotted name."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += setting_names(inner, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names
