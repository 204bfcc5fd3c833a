"""Errors as the command line words them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lfdn_video.cli import commands as cli
from lfdn_video.cli import program
from tests.support.clips import Clip

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("advice", program.OPTION_FOR)
def test_advice_that_an_option_follows_ends_a_message_of_the_library(advice: str) -> None:
    files = {*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")}
    others = files - {Path(program.__file__)}
    assert any(f'{advice}"' in file.read_text(encoding="utf-8") for file in others)


@pytest.mark.parametrize("words", [("derain", "NAME"), ("probe", "NAME"), ("verify", "NAME", "x")])
@pytest.mark.parametrize("name", ["n" * 300 + ".mp4", "loop.mp4"])
def test_name_that_the_system_refuses_is_no_bug(
    tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    arguments = [str(tmp_path / name) if word == "NAME" else word for word in words]
    result = CliRunner().invoke(cli.main, arguments, prog_name="lfdn-video")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / name}: ")
    assert "bug" not in line


def test_default_target_whose_name_is_too_long_is_named(tmp_path: Path) -> None:
    source = Clip().make(tmp_path / ("n" * 248 + ".mkv"))
    result = CliRunner().invoke(cli.main, ["derain", str(source)], prog_name="lfdn-video")
    assert result.exit_code == 1
    assert ".derained.mkv: cannot be used: File name too long; choose another" in result.stderr
