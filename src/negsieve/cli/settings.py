"""From what was typed to one nested dictionary of settings: ``--set`` over options over the config file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from negsieve.errors import UsageError


def layered(
    *,
    config: Path | None,
    assignments: Sequence[str] | None,
    data: str | None = None,
    columns: str | None = None,
    data_format: str | None = None,
    split: str | None = None,
    negatives: str | None = None,
    target: str | None = None,
    source: Sequence[str] | None = None,
    top: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    below: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All settings that were given, as the layers say; options that are None were not.

    top, train  options that are settings of the top level and of ``train``
    below       the weakest layer, under the config file

    Raises ConfigError and MissingInput as ``negsieve.config`` does, UsageError for bad columns.
    """
    from negsieve.config import resolve
    from negsieve.layers import from_assignments, read_config

    options = dict(_given(top or {}))
    options["train"] = _given(train or {})
    options["data"] = _given(
        {"source": data, "columns": _columns(columns), "format": data_format, "negatives": negatives, "target": target}
    )
    if source:
        options["data"]["source_domains"] = ",".join(source)
    if split is not None:
        options["data"]["split"] = {"method": split}
    layers = (below or {}, read_config(config) if config else {}, options, from_assignments(list(assignments or ())))
    return resolve(*layers).plain()


def typed(sampler: str | None, assignments: Sequence[str] | None) -> str | None:
    """The sampler that the command line itself names; only such a one may be ``module:function``."""
    from negsieve.layers import from_assignments

    found = from_assignments(list(assignments or ())).get("sampler", sampler)
    return found if isinstance(found, str) else sampler


def refuse_together(reason: str, **options: Any) -> None:
    """Raises UsageError naming the options that were given although ``reason`` forbids them."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, [], False)]
    if given:
        raise UsageError(f"{reason}; leave out {', '.join(given)}")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _columns(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    found: dict[str, str] = {}
    for piece in text.split(","):
        role, equals, name = piece.partition("=")
        if not equals or not role.strip():
            raise UsageError(f"--columns {text!r}: {piece!r} is not of the form role=name, such as user=who")
        if role.strip() in found:
            raise UsageError(f"--columns {text!r}: {role.strip()} is given twice")
        found[role.strip()] = name
    return found
