"""Checkpoints: a folder of safetensors files and a manifest that proves them, read whole or not at all.

``root/step-000000123/`` holds ``<group>.safetensors`` for each group of tensors and ``manifest.json``
with the step, the JSON state, and the SHA-256 and size of each file. safetensors itself notices no
flipped bit, so the manifest does; a seal over the manifest's own bytes covers the manifest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from negsieve.errors import CheckpointError, DataError, MissingInput, StorageError
from negsieve.store.atomic import json_text, need, remove, whole_folder, write_new
from negsieve.store.optimiser import pack_optimiser, unpack_optimiser
from negsieve.store.strict import LARGEST, parse_json
from negsieve.store.tensors import file_of

__all__ = ["Checkpoint", "latest", "load", "pack_optimiser", "save", "steps", "unpack_optimiser", "verify"]

FORMAT = "negsieve checkpoint"
VERSION = 1
MANIFEST = "manifest.json"
_STEP = re.compile(r"step-(\d{9,18})")
_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BLANK = "0" * 64


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder held: ``groups[group][name]`` is a CPU tensor, ``state`` plain JSON."""

    step: int
    groups: dict[str, dict[str, Tensor]]
    state: dict


def save(
    root: str | Path,
    step: int,
    groups: Mapping[str, Mapping[str, Tensor]],
    state: dict,
    *,
    newest: int = 2,
    keep: Iterable[int] = (),
) -> Path:
    """Writes ``root/step-<step>`` in one step and returns it.

    groups  tensors by group and name, on any device, contiguous or not, shared or not
    state   JSON values with string keys; tuples come back as lists; NaN raises ValueError
    newest  how many of the newest checkpoints stay; older ones go once this one is in place
    keep    steps that stay in any case

    Raises StorageError when the disk is full, with the earlier checkpoints intact. Memory: a
    copy of the largest tensor that is not on the CPU in one piece. Cost: an fsync a file and four more.
    """
    root = Path(root)
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise ValueError(f"group {group!r}: wanted letters, digits, _ and - only, at most 64")
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as problem:
        raise StorageError(f"{root}: cannot make the folder: {problem.strerror}") from problem
    need(root, sum(one.numel() * one.element_size() + 256 for group in groups.values() for one in group.values()))
    folder = root / f"step-{step:09d}"
    with whole_folder(folder, replace=True) as temporary:
        files = {}
        for group, tensors in groups.items():
            name, (size, pieces) = f"{group}.safetensors", file_of(tensors)
            sha = write_new(temporary / name, pieces, named=folder / name, size=size)
            files[name] = {"sha256": sha, "bytes": size}
        write_new(temporary / MANIFEST, _manifest(step, files, state), named=folder / MANIFEST)
    _prune(root, folder, newest, set(keep))
    return folder


def load(folder: str | Path) -> Checkpoint:
    """Reads a checkpoint after proving every file of it.

    Raises MissingInput where there is no such folder, and CheckpointError naming the file that is
    missing, too many, truncated, altered or of an unknown format version.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_names(folder, manifest)
    groups = {}
    for name, wanted in manifest["files"].items():
        data = _proven(folder / name, wanted)
        try:
            groups[name.removesuffix(".safetensors")] = safetensors.torch.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError) as problem:
            raise CheckpointError(f"is no safetensors file: {problem}", file=folder / name) from None
    return Checkpoint(manifest["step"], groups, manifest["state"])


def verify(folder: str | Path) -> dict:
    """The manifest of a checkpoint whose every file was proven; tensors are not built. Raises as ``load``."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_names(folder, manifest)
    for name, wanted in manifest["files"].items():
        _proven(folder / name, wanted)
    return manifest


def latest(root: str | Path, *, warn: Callable[[str], object] | None = None) -> Path | None:
    """The newest checkpoint under ``root`` that proves good, or None.

    A bad one is renamed to ``.bad`` and told to ``warn``, never deleted. One of another format
    version is not bad: it raises CheckpointError. Cost: reads the newest checkpoint once.
    """
    for step, folder in sorted(steps(root).items(), reverse=True):
        try:
            verify(folder)
        except MissingInput:
            continue
        except CheckpointError as problem:
            if isinstance(problem, _OtherVersionError):
                raise
            kept = _set_aside(folder)
            if warn is not None:
                warn(f"Checkpoint of step {step} is bad and was passed over: {problem}. Kept as {kept.name}.")
        else:
            return folder
    return None


def steps(root: str | Path) -> dict[int, Path]:
    """The checkpoint folders under ``root`` by step, unproven; empty when there is no such folder."""
    root = Path(root)
    if not root.is_dir():
        return {}
    found = {_STEP.fullmatch(one.name): one for one in root.iterdir() if one.is_dir()}
    return {int(match[1]): one for match, one in found.items() if match}


class _OtherVersionError(CheckpointError):
    """A checkpoint in a format that this version of the package does not read."""


def _manifest(step: int, files: dict, state: dict) -> bytes:
    _string_keys(state)
    body = {"format": FORMAT, "version": VERSION, "step": step, "files": files, "state": state, "seal": _BLANK}
    data = (json_text(body, indent=1) + "\n").encode()
    head, tail = data.rsplit(_BLANK.encode(), 1)
    return head + hashlib.sha256(data).hexdigest().encode() + tail


def _string_keys(value) -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise ValueError(f"state has the key {key!r}, wanted strings only: JSON would give back a string")
            _string_keys(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _string_keys(one)


def _read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise MissingInput(f"{folder}: no such checkpoint folder")
    data = _bytes(path, LARGEST)
    try:
        manifest = parse_json(data, file=path)
    except DataError as problem:
        raise CheckpointError(str(problem).removeprefix(f"{path}: "), file=path) from None
    seal = manifest.get("seal") if isinstance(manifest, dict) else None
    if not isinstance(seal, str) or len(seal) != 64 or manifest.get("format") != FORMAT:
        raise CheckpointError(f"is no manifest of a {FORMAT}", file=path)
    blank = _BLANK.encode().join(data.rsplit(seal.encode(), 1))
    if hashlib.sha256(blank).hexdigest() != seal:
        raise CheckpointError("was altered: its seal does not fit its bytes", file=path)
    if manifest.get("version") != VERSION:  # after the seal, so that a flipped bit is no other version
        raise _OtherVersionError(
            f"has format version {manifest.get('version')!r}; this negsieve reads version {VERSION}. "
            "Use the negsieve that wrote it.",
            file=path,
        )
    if not _well_formed(manifest):
        raise CheckpointError("lacks the step, files or state of a checkpoint", file=path)
    named = _STEP.fullmatch(folder.name)
    if named and int(named[1]) != manifest["step"]:
        raise CheckpointError(f"is of step {manifest['step']}, not of the folder's step {int(named[1])}", file=path)
    return manifest


def _well_formed(manifest: dict) -> bool:
    """Whether the parts that the reader relies on have their types; the seal proves no author."""
    step, files, state = (manifest.get(name) for name in ("step", "files", "state"))
    return (
        type(step) is int
        and isinstance(state, dict)
        and isinstance(files, dict)
        and all(
            name.endswith(".safetensors")
            and isinstance(proof, dict)
            and isinstance(proof.get("sha256"), str)
            and type(proof.get("bytes")) is int
            for name, proof in files.items()
        )
    )


def _check_names(folder: Path, manifest: dict) -> None:
    wanted = {MANIFEST, *manifest["files"]}
    found = {one.name for one in folder.iterdir()}
    for name in sorted(wanted - found):
        raise CheckpointError("is missing", file=folder / name)
    for name in sorted(found - wanted):
        raise CheckpointError("is not in the manifest: a checkpoint holds nothing else", file=folder / name)


def _proven(path: Path, wanted: dict) -> bytes:
    data = _bytes(path, wanted["bytes"])
    if len(data) != wanted["bytes"]:
        raise CheckpointError(f"found {len(data)} bytes, wanted {wanted['bytes']}: it was cut short", file=path)
    found = hashlib.sha256(data).hexdigest()
    if found != wanted["sha256"]:
        raise CheckpointError(
            f"was altered: found SHA-256 {found[:12]}..., wanted {wanted['sha256'][:12]}...", file=path
        )
    return data


def _bytes(path: Path, largest: int) -> bytes:
    if path.is_symlink():
        raise CheckpointError("is a link: a checkpoint holds plain files only", file=path)
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise CheckpointError("is missing", file=path) from None
    except OSError as problem:
        raise StorageError(f"{path}: cannot be read: {problem.strerror}") from problem
    if len(data) > largest:
        raise CheckpointError(f"has more than the {largest} bytes wanted", file=path)
    return data


def _set_aside(folder: Path) -> Path:
    """Renames a bad checkpoint; where that is not allowed it stays, and is passed over each time."""
    for number in range(1, 1000):
        target = folder.with_name(folder.name + (".bad" if number == 1 else f".bad{number}"))
        if not target.exists():
            try:
                os.rename(folder, target)
            except OSError:
                return folder
            return target
    return folder


def _prune(root: Path, written: Path, newest: int, keep: set[int]) -> None:
    found = steps(root)
    stay = {*sorted(found, reverse=True)[: max(newest, 1)], *keep}
    for step, folder in found.items():
        if step not in stay and folder != written:
            hidden = root / f".{folder.name}.{os.getpid()}.old"  # half removed, it must not look like a checkpoint
            try:
                os.replace(folder, hidden)
            except OSError:
                continue
            remove(hidden)
    for left in root.glob(".step-*.old"):
        remove(left)
    for left in root.glob(".step-*.tmp"):
        remove(left)
