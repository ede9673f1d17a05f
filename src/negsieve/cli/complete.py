"""Names that the shell can complete, found without importing torch.

The tables of samplers, models and losses are read from their source as text: a keypress must not
wait for a framework to load.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TABLES = {
    "sampler": ("samplers/methods/*.py", "METHODS"),
    "model": ("models/named.py", "MODELS"),
    "loss": ("losses/*.py", "LOSSES"),
}


def table_names(kind: str) -> list[str]:
    """The keys of the visible tables of samplers, models or losses, in their order."""
    files, table = _TABLES[kind]
    return [name for file in sorted(_ROOT.glob(files)) for name in _keys(file, table)]


def _keys(file: Path, table: str) -> list[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(one, ast.Name) and one.id == table for one in targets)
        if named and isinstance(node.value, ast.Dict):
            return [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
    return []


def samplers(incomplete: str) -> list[str]:
    """Samplers by name, those of installed plug-ins among them."""
    from importlib.metadata import entry_points

    offered = [point.name for point in entry_points(group="negsieve.samplers")]
    return _starting([*table_names("sampler"), *offered], incomplete)


def models(incomplete: str) -> list[str]:
    """Completes the name of a model."""
    return _starting(table_names("model"), incomplete)


def losses(incomplete: str) -> list[str]:
    """Completes the name of a loss."""
    return _starting(table_names("loss"), incomplete)


def data(incomplete: str) -> list[str]:
    """Known data sets, by the folders that hold them; files are the shell's own business."""
    roots = [_ROOT / "data" / "shipped", *(Path(one) for one in [os.environ.get("NEGSIEVE_DATA")] if one)]
    found = [one.parent.name for root in roots for one in sorted(root.glob("*/interactions.parquet"))]
    return _starting(found, incomplete)


def settings(incomplete: str) -> list[str]:
    """Names of settings, with the equals sign."""
    from negsieve.config import setting_names

    return _starting([f"{name}=" for name in setting_names()], incomplete)


def splits(incomplete: str) -> list[str]:
    """Completes the name of a way of splitting."""
    return _starting(["auto", "given", "ratio", "loo", "temporal", "kfold", "none"], incomplete)


def formats(incomplete: str) -> list[str]:
    """Completes the name of a file format of the data."""
    return _starting(["csv", "tsv", "jsonl", "parquet", "inter", "lightgcn"], incomplete)


def devices(incomplete: str) -> list[str]:
    """Completes the name of a device."""
    return _starting(["auto", "cpu", "cuda"], incomplete)


def engines(incomplete: str) -> list[str]:
    """Completes the name of what does the steps."""
    return _starting(["auto", "compiled", "torch"], incomplete)


def table_formats(incomplete: str) -> list[str]:
    """Completes the name of a format of lists."""
    return _starting(["csv", "parquet", "jsonl"], incomplete)


def vector_formats(incomplete: str) -> list[str]:
    """Completes the name of a format of vectors."""
    return _starting(["parquet", "npy"], incomplete)


def parts(incomplete: str) -> list[str]:
    """Completes the name of a part of the data."""
    return _starting(["test", "valid", "train"], incomplete)


def protocols(incomplete: str) -> list[str]:
    """Completes the name of an evaluation protocol."""
    return _starting(["full", "sampled", "both"], incomplete)


def kinds(incomplete: str) -> list[str]:
    """Completes the name of a kind of thing that can be listed."""
    return _starting(["samplers", "models", "losses", "metrics", "data"], incomplete)


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
