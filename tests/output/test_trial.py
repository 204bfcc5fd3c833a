"""Refusals that FFmpeg makes when it writes packets come before the first frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from lfdn_video.errors import OutputError
from lfdn_video.input.reader import Reader
from lfdn_video.options import EncodeOptions
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.passthrough import Passthrough
from lfdn_video.output.writer import Writer
from tests.support.clips import Clip, packets

FAST = EncodeOptions(preset="ultrafast")


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every file that has packets of this type of stream fail like a muxer does."""

    def refuse_type(kind: str) -> None:
        add_streams, mux_trial = Passthrough.add_streams, Muxer.mux_trial
        types: list[str] = []

        def add(others: Passthrough, target: OutputContainer, *words: object) -> None:
            add_streams(others, target, *words)  # type: ignore[arg-type]
            types[:] = [stream.type for stream in target.streams]

        def mux(muxer: Muxer, given: list[Packet[Stream]]) -> None:
            mux_trial(muxer, given)
            if kind in types:
                raise av.error.ArgumentError(22, "Invalid argument", "out.mkv")

        monkeypatch.setattr(Passthrough, "add_streams", add)
        monkeypatch.setattr(Muxer, "mux_trial", mux)

    return refuse_type


def test_refusal_of_the_video_comes_before_the_first_frame(
    tmp_path: Path, refuse: Callable[[str], None]
) -> None:
    source = Clip(codec="libx264", audio="aac").make(tmp_path / "in.mkv")
    refuse("video")
    with Reader(source) as reader, pytest.raises(OutputError, match="Invalid argument"):
        Writer(tmp_path / "out.mkv", reader.info, FAST).open()
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_copied_stream_that_cannot_be_written_is_left_out_and_named(
    tmp_path: Path, refuse: Callable[[str], None]
) -> None:
    source = Clip(codec="libx264", audio="aac", subtitles=True).make(tmp_path / "in.mkv")
    refuse("subtitle")
    with Reader(source) as reader, Writer(tmp_path / "out.mkv", reader.info, FAST) as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert len(packets(tmp_path / "out.mkv", "audio")) == 2
    with av.open(str(tmp_path / "out.mkv")) as target:
        assert not target.streams.subtitles
    (note,) = (each for each in writer.warnings if "left out" in each)
    assert "subtitle stream 3 (ass, deu, Untertitel) is left out" in note
    assert "Invalid argument" in note
