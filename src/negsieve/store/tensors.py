"""A safetensors file in pieces: its header, then each tensor's own memory, so that no second copy of them is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_NAMES = {  # in the order in which the format's own library lays them out: the widest first
    **{torch.uint64: "U64", torch.int64: "I64", torch.float64: "F64", torch.complex64: "C64"},
    **{torch.float32: "F32", torch.uint32: "U32", torch.int32: "I32"},
    **{torch.bfloat16: "BF16", torch.float16: "F16", torch.uint16: "U16", torch.int16: "I16"},
    **{torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"},
}
_ORDER = {dtype: place for place, dtype in enumerate(_NAMES)}
_SMALL = 1 << 16  # bytes; pieces below it are written together


def file_of(tensors: Mapping[str, Tensor]) -> tuple[int, Iterator[bytes | memoryview]]:
    """The size of the file that holds ``tensors``, and its bytes in pieces: those of ``safetensors.torch.save``.

    Tensors may be on any device, contiguous or not, and share memory; one at a time is copied where it is not on
    the CPU and in one piece. Raises ValueError for a type that such files do not have.
    """
    for name, one in tensors.items():
        if one.dtype not in _NAMES:
            raise ValueError(f"tensor {name!r} is {one.dtype}, wanted one of {', '.join(map(str, _NAMES))}")
    names = sorted(tensors, key=lambda name: (_ORDER[tensors[name].dtype], name))
    told, end = {}, 0
    for name in names:
        one, start = tensors[name], end
        end += one.numel() * one.element_size()
        told[name] = {"dtype": _NAMES[one.dtype], "shape": list(one.shape), "data_offsets": [start, end]}
    header = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return 8 + len(header) + end, _pieces(len(header).to_bytes(8, "little") + header, [tensors[name] for name in names])


def _pieces(header: bytes, tensors: list[Tensor]) -> Iterator[bytes | memoryview]:
    held = [header]
    for one in tensors:
        memory = memoryview(one.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        if len(memory) < _SMALL:
            held.append(bytes(memory))
            continue
        yield b"".join(held)
        yield memory
        held = []
    yield b"".join(held)
