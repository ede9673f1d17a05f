"""From a name, a file or a frame to a Dataset that can be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from negsieve.config import DataConfig, RunConfig, resolve
from negsieve.data import catalogue
from negsieve.data.dataset import Dataset
from negsieve.data.domains import take_apart
from negsieve.data.explicit import add_negatives
from negsieve.data.read import read
from negsieve.data.split import split
from negsieve.errors import UsageError


def load_data(
    source: Any = "online-retail",
    *,
    config: DataConfig | None = None,
    name: str | None = None,
    negatives: Any = None,
    target: str | None = None,
    source_domains: str | Sequence[str] | None = None,
) -> Dataset:
    """Reads, cleans and splits a log.

    source     the name of a known data set, a file or folder, a pandas or polars frame, an Arrow table
    config     format, columns, cleaning and split; defaults otherwise
    name       for reports; the file's or data set's own by default
    negatives  pairs that users turned down, in the same forms; by default those that the configuration names
    target, source_domains  domains of a log of several: the catalogue, and what stands beside it as side information;
               by default those that the configuration names

    Raises DataError naming file, line and column; MissingInput when there is no such thing.
    """
    config = _with_domains(config or DataConfig(), target, source_domains)
    if isinstance(source, str | Path):
        found = catalogue.find(str(source))
        name = name or Path(source).stem.split(".")[0] or "data"
    else:
        found = source
    interactions = read(
        found,
        format=config.format,
        columns=config.columns or None,
        rating_min=config.rating_min,
        duplicates=config.duplicates,
        core=config.core,
        since=config.since,
        until=config.until,
        skip_bad=config.skip_bad,
        memory_limit=config.memory_limit,
        negatives_below=config.negatives_below,
        item_ids="shared" if config.target is None else "apart",
        positions=config.target is not None,
    )
    if (negatives := config.negatives if negatives is None else negatives) is not None:
        interactions = add_negatives(
            interactions,
            negatives,
            columns=config.columns or None,
            skip_bad=config.skip_bad,
            memory_limit=config.memory_limit,
        )
    aside = None
    if config.target is not None:
        interactions, aside = take_apart(interactions, config.target, sources=config.source_domains)
    how = config.split
    return split(
        interactions,
        method=how.method,
        ratios=how.ratios,
        seed=how.seed,
        folds=how.folds,
        fold=how.fold,
        valid_from_train=how.valid_from_train,
        aside=aside,
        min_train=how.min_train,
        needs_source=how.needs_source,
        drop_last_user=how.drop_last_user,
        name=name or "data",
    )


def _with_domains(config: DataConfig, target: str | None, sources: str | Sequence[str] | None) -> DataConfig:
    named = {"target": target, "source_domains": sources}
    named = {word: value for word, value in named.items() if value is not None}
    return resolve({"data": config.model_dump(mode="json") | named}).data if named else config


def configured(data: Any, settings: Mapping[str, Any] | None, arguments: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a call: its arguments over the data that it was given over its settings.

    A frame, table or Dataset has no name that could be read again; the run keeps its own copy of the data.
    """
    named = isinstance(data, str | Path)
    unnamed = {} if data is None or named else {"data": {"source": "(given from memory)"}}
    source = {"data": {"source": str(data)}} if named else {}
    return resolve(unnamed, settings or {}, source, arguments or {})


def dataset_of(data: Any, config: RunConfig) -> Dataset:
    """``data`` itself where it is a Dataset, else what it or the configuration names, read."""
    if isinstance(data, Dataset):
        target = data.interactions.facts.get("target", {})
        wanted = (config.data.target, list(config.data.source_domains))
        if config.data.target is not None and wanted != (target.get("domain"), target.get("sources")):
            raise UsageError(
                f"found a Dataset of {target.get('domain') or 'one catalogue'}, wanted target {wanted[0]!r} with "
                f"source {wanted[1]}: a Dataset is read and split already. Name the domains where it is made: load_data"
            )
        return data
    return load_data(config.data.source if data is None else data, config=config.data)
