"""What tests of several folders share."""

import pytest
import torch
from no_float64 import put  # noqa: F401


@pytest.fixture(scope="module")
def one_thread():
    """Pictures of 16×16 are too small to share: with more threads the tests wait for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    """A test that draws random weights draws the same ones in whatever order the tests run."""
    torch.manual_seed(0)
