"""The bytes are those of safetensors itself, whatever the tensors are, and no tensor is copied to write it."""

import pytest
import safetensors.torch
import torch

from negsieve.store import tensors
from negsieve.store.atomic import write_new

DTYPES = [dtype for dtype in tensors._NAMES if dtype != torch.complex64]


def joined(given) -> bytes:
    size, pieces = tensors.file_of(given)
    data = b"".join(bytes(piece) for piece in pieces)
    assert len(data) == size
    return data


def some(dtype, *shape):
    return torch.arange(max(1, torch.Size(shape).numel())).to(dtype).reshape(shape)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"only": torch.tensor(3.0)},
        {f"{letter}.{n}": some(dtype, n, 3) for letter in "ba" for n, dtype in enumerate(DTYPES, 1)},
        {"none": torch.zeros(0, 3), 'odd "name"\n\u00fc\U0001f600': torch.ones(2), "large": torch.ones(300, 100)},
        {"large": torch.ones(50_000), "small": torch.ones(3).double(), "larger": torch.ones(60_000, dtype=torch.int32)},
    ],
    ids=["nothing", "a number", "every type", "odd ones", "large between small"],
)
def test_the_bytes_of_safetensors(given):
    data = joined(given)
    assert data == safetensors.torch.save(given)
    back = safetensors.torch.load(data)
    assert back.keys() == given.keys() and all(torch.equal(back[name], one) for name, one in given.items())


def test_views_and_shared_memory_are_written_as_they_read():
    table = torch.arange(12.0).reshape(3, 4)
    given = {"table": table, "same": table, "turned": table.T, "some": table[1:, ::2], "wide": table[:1].expand(5, -1)}
    back = safetensors.torch.load(joined(given))
    assert all(torch.equal(back[name], one) for name, one in given.items())


def test_a_large_tensor_goes_to_the_file_from_its_own_memory(tmp_path):
    table = torch.zeros(100_000, requires_grad=True)
    _, pieces = tensors.file_of({"table": table})
    header, memory, rest = pieces
    with torch.no_grad():
        table[0] = 1.0
    assert memory[:4] == torch.ones(1).numpy().tobytes() and rest == b""
    write_new(tmp_path / "file", [header, memory])
    assert safetensors.torch.load_file(tmp_path / "file")["table"][0] == 1


def test_a_type_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"'bad' is torch\.complex128"):
        tensors.file_of({"bad": torch.zeros(1, dtype=torch.complex128)})
