"""The tables of `probe` and `doctor`."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from lfdn_video.checks import Check
from lfdn_video.cli import tables
from lfdn_video.media import Chapter, Colour, StreamInfo
from tests.support.fakes import video_info

SOUND = StreamInfo(index=1, type="audio", codec="aac", language="ger", title="Ton [1]", channels=2)


def shown(capsys: pytest.CaptureFixture[str], **changes: object) -> str:
    info = replace(video_info(), **changes)  # type: ignore[arg-type] # any field, of any type
    tables.print_info(info)
    return capsys.readouterr().out


def test_brackets_in_titles_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Ton [1]" in shown(capsys, streams=(SOUND,))


def test_a_rotation_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "turned 90° clockwise, mirrored" in shown(capsys, rotation=90, flip=True)


def test_an_untagged_matrix_is_said_to_be_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "BT.601 (untagged, by its size), limited range, 8 bit" in shown(capsys)


def test_a_tagged_matrix_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert "BT.709, full range, 8 bit" in shown(capsys, colour=Colour(matrix=1, range=2))


def test_chapters_and_tags_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    chapters = (Chapter(Fraction(0), Fraction(75), "Beginning"),)
    told = shown(capsys, chapters=chapters, metadata={"title": "Rain"})
    assert "chapter 1: 0.0 s to 1:15  Beginning\ntitle: Rain\n" in told


def test_rates_are_short() -> None:
    assert [tables.rate(Fraction(25)), tables.rate(Fraction(30000, 1001))] == [
        "25 fps",
        "29.97 fps",
    ]


@pytest.mark.parametrize(("state", "healthy"), [("warning", True), ("failed", False)])
def test_only_a_failed_check_is_unhealthy(
    state: str, healthy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Check("weights", "failed" if state == "failed" else "warning", "none")
    assert tables.print_checks([check], as_json=False) is healthy
    assert "none" in capsys.readouterr().out


def test_checks_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_checks([Check("device", "ok", "cpu")], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "checks": [{"name": "device", "state": "ok", "text": "cpu"}],
    }


def test_a_tag_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, metadata={"title": "\x1b[2Jgone\x07"})
    assert "\x1b[2J" not in output
    assert "\\x1b[2Jgone\\x07" in output
