"""What users set, before it is resolved: YAML files, ``key=value`` texts, one nested dictionary over another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from negsieve.errors import ConfigError, MissingInput


def read_config(path: str | Path) -> dict[str, Any]:
    """The nested dictionary of a YAML file. Raises MissingInput or ConfigError naming the file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise MissingInput(f"{path}: cannot read the configuration ({problem.strerror})") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(problem).split())})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: found {type(found).__name__}, wanted keys such as 'data', 'model', 'train'")
    return found


def from_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["train.lr=0.01"]`` -> ``{"train": {"lr": 0.01}}``; values are read as YAML scalars."""
    layer: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {text!r}: wanted key=value, such as train.lr=0.01")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {text!r}: {value!r} is not a value that YAML can read") from None
        if isinstance(parsed, str):
            parsed = _number(parsed)
        merge(layer, _nest(key.split("."), parsed))
    return layer


def _number(text: str) -> Any:
    """YAML 1.1 reads ``1e-3`` as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _nest(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nest(keys[1:], value)}


def merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Puts a nested dictionary over another, in place; what ``layer`` does not name stays."""
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
            if isinstance(value, Mapping):  # a copy all the way down: later layers must not write into this one
                into[key] = {}
                merge(into[key], value)
