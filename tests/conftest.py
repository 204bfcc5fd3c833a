"""Configuration of all tests: a fixed seed, and marks for tests with special requirements."""

import os
import shutil
from collections.abc import Generator

import pytest
import torch


def _no_cuda() -> str:
    return "" if torch.cuda.is_available() else "no CUDA device"


def _no_browser() -> str:
    return "" if shutil.which("chromium") else "no chromium"


def _no_screen() -> str:
    programs = ("Xvfb", "xdotool")
    return " and ".join(f"no {name}" for name in programs if shutil.which(name) is None)


def _no_ffmpeg() -> str:
    programs = ("ffmpeg", "ffprobe")
    return " and ".join(f"no {name}" for name in programs if shutil.which(name) is None)


SEED = 20211

NEEDS = {
    "needs_cuda": ("LFDN_REQUIRE_CUDA", _no_cuda),
    "needs_browser": ("LFDN_REQUIRE_BROWSER", _no_browser),
    "needs_screen": ("LFDN_REQUIRE_SCREEN", _no_screen),
    "needs_ffmpeg": ("LFDN_REQUIRE_FFMPEG", _no_ffmpeg),
}
"""By mark: the variable that turns a skip into a failure, and a check for what is missing."""


@pytest.fixture(autouse=True)
def _seeded() -> Generator[None]:
    """Seed the random numbers, so that tests do not depend on their order."""
    state = torch.get_rng_state()
    torch.manual_seed(SEED)
    yield
    torch.set_rng_state(state)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`needs_…` skips where that is absent, and fails there if its LFDN_REQUIRE_… is 1."""
    for mark, (variable, missing) in NEEDS.items():
        if item.get_closest_marker(mark) is None or not (what := missing()):
            continue
        if os.environ.get(variable) == "1":
            pytest.fail(f"{variable}=1, but there is {what}", pytrace=False)
        pytest.skip(what)
