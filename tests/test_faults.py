"""Faults from outside during a run: it ends with one line, and nothing incomplete is left."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame

from lfdn_video import restore
from lfdn_video.errors import InputError, LfdnVideoError, OutputError
from lfdn_video.inference.engine import Engine
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.output import segments
from lfdn_video.output.encoder import Encoder
from lfdn_video.pipeline import Summary
from lfdn_video.progress import Progress
from tests.support.clips import Clip, corrupt_packet, packets, planes
from tests.support.fakes import identity

COUNT, AT = 60, 20

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="open files stay there")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    clip = Clip(codec="libx264", pts=range(COUNT), audio="aac", options={"g": "10"})
    return clip.make(folder / "in.mkv")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder / "out.mkv"


@pytest.fixture(params=[False, True], ids=["short", "in segments"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(segments, "SEGMENT_FRAMES", 13)


def run(source: Path, target: Path, happens: Callable[[], object]) -> Summary:
    """Restore a clip, and call `happens` after frame `AT`."""

    def on_progress(progress: Progress) -> None:
        if progress.frames_done == AT:
            happens()

    with Engine(identity) as engine:
        options = EncodeOptions(codec="ffv1")
        return restore(source, target, encode=options, engine=engine, on_progress=on_progress)


@not_on_windows
def test_source_removed_during_the_run_is_read_to_its_end(source: Path, target: Path) -> None:
    """It is open already, both for the frames and for the copied streams."""
    expected = planes(source)
    audio = packets(source, "audio")
    assert run(source, target, source.unlink).frames == COUNT
    assert planes(target) == expected
    assert [[data for _, data in track] for track in packets(target, "audio")] == [
        [data for _, data in track] for track in audio
    ]


@not_on_windows
def test_source_missing_when_segments_are_joined_costs_no_frame(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its audio is copied then. Once it is back, the run can be resumed."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 13)
    away = source.with_name("away.mkv")
    with pytest.raises(InputError, match=r"in\.mkv: no such file") as failed:
        run(source, target, lambda: source.rename(away))
    assert failed.value.__notes__ == [f"{COUNT} frames are kept; resume the run"]
    away.rename(source)
    with Engine(identity) as engine:
        options = EncodeOptions(codec="ffv1", resume=True)
        assert restore(source, target, encode=options, engine=engine).frames == COUNT
    assert planes(target) == planes(source)


@not_on_windows
def test_removed_corrupt_source_is_an_error(source: Path, target: Path) -> None:
    """A corrupt source is opened once more, for the careful pass."""
    corrupt_packet(source, COUNT - 5)
    with pytest.raises(InputError, match=r"in\.mkv: no such file"):
        run(source, target, source.unlink)
    assert list(target.parent.iterdir()) == []


@pytest.mark.usefixtures("_both_ways")
def test_source_truncated_during_the_run_is_read_as_far_as_it_goes(
    source: Path, target: Path
) -> None:
    def cut() -> None:
        with source.open("rb+") as file:
            file.truncate(source.stat().st_size // 2)

    try:
        summary = run(source, target, cut)
    except LfdnVideoError:
        assert not target.exists()
    else:
        assert AT <= summary.frames <= COUNT
        assert len(planes(target)) == summary.frames
        if summary.frames < COUNT:
            assert any("truncated" in warning for warning in summary.warnings)


@not_on_windows
@pytest.mark.usefixtures("_both_ways")
def test_target_folder_removed_during_the_run_is_an_error(source: Path, target: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.mkv: cannot be .*No such file"):
        run(source, target, lambda: shutil.rmtree(target.parent))
    assert not target.parent.exists()


@pytest.mark.usefixtures("_both_ways")
def test_encoder_failure_during_the_run_is_an_error(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Encoder.prepare
    prepared = [0]

    def failing(encoder: Encoder, frame: Frame) -> VideoFrame:
        prepared[0] += 1
        if prepared[0] == AT:
            raise av.error.ExternalError(av.error.tag_to_code(b"EXT "), "the encoder failed")
        return prepare(encoder, frame)

    monkeypatch.setattr(Encoder, "prepare", failing)
    with pytest.raises(OutputError, match="cannot be written: the encoder failed"):
        run(source, target, lambda: None)
    assert not target.exists()
    left = [path.name for path in target.parent.glob(".*/*")]
    assert left == [] or sorted(left) == ["00000.packets", "journal.json", "lock"]
