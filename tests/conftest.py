"""What all tests share: a fixed seed, and the mark for tests that need a CUDA device."""

import os
from collections.abc import Generator

import pytest
import torch

SEED = 20211


@pytest.fixture(autouse=True)
def _seeded() -> Generator[None]:
    """Every test sees the same random numbers, whatever ran before it."""
    state = torch.get_rng_state()
    torch.manual_seed(SEED)
    yield
    torch.set_rng_state(state)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`needs_cuda` skips where CUDA is absent, and fails there if LFDN_REQUIRE_CUDA=1."""
    if item.get_closest_marker("needs_cuda") is None or torch.cuda.is_available():
        return
    if os.environ.get("LFDN_REQUIRE_CUDA") == "1":
        pytest.fail("LFDN_REQUIRE_CUDA=1, but there is no CUDA device", pytrace=False)
    pytest.skip("no CUDA device")
