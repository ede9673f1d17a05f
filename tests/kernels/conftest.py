"""What tests of several kernels share."""

import pytest
import torch


@pytest.fixture
def threads():
    """``threads(2)`` sets how many threads kernels use, for this test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
