"""Errors as the command line words them."""

from pathlib import Path

import pytest

from lfdn_video.cli import program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("advice", program.OPTION_FOR)
def test_advice_that_an_option_follows_ends_a_message_of_the_library(advice: str) -> None:
    files = {*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")}
    others = files - {Path(program.__file__)}
    assert any(f'{advice}"' in file.read_text(encoding="utf-8") for file in others)
