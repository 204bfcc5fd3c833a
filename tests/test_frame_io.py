"""Base classes of readers and writers: warnings, and how a writer is left."""

import logging
from pathlib import Path

import pytest

from lfdn_video.frame_io import FrameWriter, Warnings
from lfdn_video.media import Frame


class RecordingWriter(FrameWriter):
    """Records its calls; `complete` fails on request."""

    def __init__(self, *, fails: bool = False, kept: int = 0) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._fails = fails
        self._kept = kept

    @property
    def target(self) -> Path:
        return Path("out.mp4")

    @property
    def kept_frames(self) -> int:
        return self._kept

    def open(self) -> None:
        self.calls.append("open")

    def write(self, frame: Frame) -> None:
        self.calls.append("write")

    def complete(self) -> None:
        self.calls.append("complete")
        if self._fails:
            raise OSError("full")

    def clean_up(self) -> None:
        self.calls.append("clean_up")


def test_warning_is_kept_and_logged_once_for_a_subject(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Warnings()
    with caplog.at_level(logging.WARNING):
        for subject in ("a.png", "a.png", "b.png"):
            warnings.add(subject, "is odd")
    assert warnings == ["a.png: is odd", "b.png: is odd"]
    assert caplog.messages == warnings


def test_warning_to_be_given_once_is_kept_for_the_first_subject_only() -> None:
    warnings = Warnings()
    for subject in ("a.png", "b.png"):
        warnings.add(subject, "is odd", once=True)
    assert warnings == ["a.png: is odd"]


def test_writer_is_completed_and_released_after_success() -> None:
    with RecordingWriter(kept=3) as writer:
        pass
    assert writer.calls == ["open", "complete", "clean_up"]


def test_writer_is_only_released_after_an_error() -> None:
    writer = RecordingWriter()
    with pytest.raises(KeyboardInterrupt) as failed, writer:
        raise KeyboardInterrupt
    assert writer.calls == ["open", "clean_up"]
    assert not hasattr(failed.value, "__notes__")


def run_writer(writer: FrameWriter, *, fails: bool) -> None:
    with writer:
        if fails:
            raise OSError("full")


@pytest.mark.parametrize("fails", [False, True], ids=["while completing", "in the block"])
def test_error_names_the_frames_that_are_kept(fails: bool) -> None:
    writer = RecordingWriter(fails=not fails, kept=26)
    with pytest.raises(OSError, match="full") as failed:
        run_writer(writer, fails=fails)
    assert failed.value.__notes__ == ["26 frames are kept; resume the run"]
