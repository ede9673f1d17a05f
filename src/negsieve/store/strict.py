"""Reading what a crash, a bad disk or a stranger may have written: strictly, with the file named.

Python's own JSON reader accepts repeated keys, NaN, 1e999, lone surrogates and deep nesting; YAML
adds aliases and tags. Nothing here can make an object other than a dict, list, string, number,
bool or None.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from negsieve.errors import DataError, MissingInput

LARGEST = 64 << 20
DEEPEST = 64


def read_json(path: str | Path, *, largest: int = LARGEST):
    """The value in a JSON file.

    Refuses repeated keys, numbers that are not finite, lone surrogates, more than 64 levels and
    more than ``largest`` bytes. Raises MissingInput or DataError, both naming the file.
    """
    return parse_json(_read(path, largest), file=path)


def read_lines(path: str | Path, *, largest: int = 16 * LARGEST) -> list[dict]:
    """The objects of a JSON-lines file. A torn last line, without its line break, is dropped.

    Raises DataError with the row for any other bad line.
    """
    lines = _read(path, largest).split(b"\n")[:-1]
    records = []
    for row, line in enumerate(lines, start=1):
        record = parse_json(line, file=path, row=row)
        if not isinstance(record, dict):
            raise DataError(f"found {type(record).__name__}, wanted an object", file=path, row=row)
        records.append(record)
    return records


def parse_json(data: bytes, *, file: str | Path, row: int | None = None):
    """The value that UTF-8 JSON text stands for, by the rules of ``read_json``."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float
        )
        _check(value)
    except RecursionError:
        raise DataError(f"found JSON nested deeper than {DEEPEST} levels", file=file, row=row) from None
    except ValueError as problem:
        raise DataError(f"found bad JSON: {problem}", file=file, row=row) from None
    return value


def read_yaml(path: str | Path, *, largest: int = 1 << 20) -> dict:
    """The mapping in a YAML file: plain values only, no tags, no aliases, no repeated keys.

    Raises MissingInput or DataError, both naming the file.
    """
    import yaml

    data = _read(path, largest)
    try:
        text = data.decode("utf-8")
        _refuse_aliases_and_depth(yaml, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _unique_nodes(yaml, node)
        value = yaml.safe_load(text)
        _check(value)
    except RecursionError:
        raise DataError(f"found YAML nested deeper than {DEEPEST} levels", file=path) from None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        reason = getattr(problem, "problem", None) or str(problem)
        raise DataError(f"found bad YAML: {reason}", file=path, row=None if mark is None else mark.line + 1) from None
    except ValueError as problem:
        raise DataError(f"found bad YAML: {problem}", file=path) from None
    if not isinstance(value, dict):
        raise DataError(f"found {type(value).__name__}, wanted a mapping of names to values", file=path)
    return value


def _read(path: str | Path, largest: int) -> bytes:
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise MissingInput(f"{path}: no such file") from None
    except OSError as problem:
        raise MissingInput(f"{path}: cannot be read: {problem.strerror}") from None
    if len(data) > largest:
        raise DataError(f"found more than {largest} bytes, the limit for this kind of file", file=path)
    return data


def _unique(pairs: list[tuple]) -> dict:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return value


def _no_constant(text: str):
    raise ValueError(f"the number {text}, wanted a finite one")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}, wanted a finite one")
    return value


def _check(value) -> None:
    """Depth and surrogates, without recursion."""
    open_ones = [(value, 1)]
    while open_ones:
        one, depth = open_ones.pop()
        if depth > DEEPEST:
            raise RecursionError
        if isinstance(one, dict):
            open_ones.extend((key, depth + 1) for key in one)
            open_ones.extend((part, depth + 1) for part in one.values())
        elif isinstance(one, list):
            open_ones.extend((part, depth + 1) for part in one)
        elif isinstance(one, str):
            one.encode("utf-8")  # a lone surrogate raises a ValueError here


def _refuse_aliases_and_depth(yaml, text: str) -> None:
    """Reads event by event and stops early: the scanner's time grows with the square of the depth."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError
        if isinstance(event, yaml.events.AliasEvent):
            raise ValueError(f"the alias *{event.anchor} in line {event.start_mark.line + 1}; write the value out")


def _unique_nodes(yaml, node) -> None:
    open_ones = [] if node is None else [node]
    while open_ones:
        one = open_ones.pop()
        if isinstance(one, yaml.MappingNode):
            names = [key.value for key, _ in one.value if isinstance(key, yaml.ScalarNode)]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"the key {name!r} twice in the mapping at line {one.start_mark.line + 1}")
            open_ones.extend(part for _, part in one.value)
        elif isinstance(one, yaml.SequenceNode):
            open_ones.extend(one.value)
