"""``negsieve.explain`` and ``negsieve.check``: one call each, on anything that ``load_data`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from negsieve.loading import configured, dataset_of
from negsieve.review import tryout
from negsieve.review.explain import lay_open


def explain(
    sampler: str = "uniform",
    data: Any = None,
    *,
    loss: str | None = None,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a method is made of, needs, costs and equals, measured on ``data`` (what ``load_data`` takes).

    settings  nested settings, for example ``{"train": {"lr": 0.01, "l2": 1e-3}}``: where the method equals
              another at other settings, these are the ones it starts from

    Returns ``composition``, ``needs``, ``refused``, ``cost`` (score evaluations a positive), ``epoch`` (those of a
    refresh), ``engine`` (what would do the steps), ``memory`` (bytes), ``equal`` and ``warnings``, each with what
    proves it.
    """
    given = {"sampler": sampler, "loss": loss, "model": model}
    config = configured(data, settings, {key: value for key, value in given.items() if value is not None})
    return lay_open(config, dataset_of(data, config), trusted=[sampler])


def check(
    data: Any = None,
    *,
    samplers: str | Sequence[str] = "all",
    model: str | None = None,
    loss: str = "auto",
    epochs: int = 2,
    users: int | None = None,
    settings: Mapping[str, Any] | None = None,
    told: Callable[[tryout.Verdict], None] = lambda verdict: None,
) -> dict[str, Any]:
    """Trains every sampler for a few epochs and says which break a promise, and how.

    samplers  names, specs or ``module:function``; "all" is every named method
    model     for all; by default mf, and lightgcn where a sampler needs layers
    users     so many users of the data, drawn by ``train.seed``; all by default
    told      called with each verdict as it falls

    Returns ``data``, ``epochs``, ``rows`` and ``failed``, how many of them broke.
    """
    config = configured(data, settings, {"loss": loss})
    dataset = dataset_of(data, config)
    dataset = tryout.fewer_users(dataset, users, seed=config.train.seed) if users is not None else dataset
    names = (samplers,) if isinstance(samplers, str) else samplers
    quick = tryout.settings(config, epochs=epochs)
    rows = tryout.try_methods(quick, dataset, tryout.canonical(names), model=model, trusted=names, told=told)
    facts = {"name": dataset.name, "users": dataset.n_users, "items": dataset.n_items}
    facts["train"] = len(dataset.rows("train"))
    failed = sum(row.ok is False for row in rows)
    return {"data": facts, "epochs": epochs, "failed": failed, "rows": [row.plain() for row in rows]}
