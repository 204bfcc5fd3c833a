"""Output of `probe`, `doctor` and `verify`."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from lfdn_video.checks import Check
from lfdn_video.cli import tables
from lfdn_video.media import Chapter, Colour, StreamInfo
from tests.support.fakes import video_info

AUDIO = StreamInfo(index=1, type="audio", codec="aac", language="ger", title="Ton [1]", channels=2)


def printed_info(capsys: pytest.CaptureFixture[str], **changes: object) -> str:
    info = replace(video_info(), **changes)  # type: ignore[arg-type] # any field, of any type
    tables.print_info(info)
    return capsys.readouterr().out


def test_brackets_in_a_title_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Ton [1]" in printed_info(capsys, streams=(AUDIO,))


def test_rotation_and_flip_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "rotated 90° clockwise, mirrored" in printed_info(capsys, rotation=90, flip=True)


def test_untagged_matrix_is_marked_as_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "BT.601 (untagged, guessed from the size), limited range, 8 bit" in printed_info(capsys)


def test_tagged_matrix_is_not_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "BT.709, full range, 8 bit" in printed_info(capsys, colour=Colour(matrix=1, range=2))


def test_chapters_and_tags_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    chapters = (Chapter(Fraction(0), Fraction(75), "Beginning"),)
    printed = printed_info(capsys, chapters=chapters, metadata={"title": "Rain"})
    assert "chapter 1: 0.0 s to 1:15  Beginning\ntitle: Rain\n" in printed


@pytest.mark.parametrize(("state", "healthy"), [("warning", True), ("failed", False)])
def test_only_a_failed_check_makes_the_result_false(
    state: str, healthy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Check("weights", "failed" if state == "failed" else "warning", "none")
    assert tables.print_checks([check], as_json=False) is healthy
    assert "none" in capsys.readouterr().out


def test_checks_are_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_checks([Check("device", "ok", "cpu")], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "checks": [{"name": "device", "state": "ok", "text": "cpu"}],
    }


def test_escape_sequences_in_a_tag_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed_info(capsys, metadata={"title": "\x1b[2Jgone\x07"})
    assert "\x1b[2J" not in output
    assert "\\x1b[2Jgone\\x07" in output
