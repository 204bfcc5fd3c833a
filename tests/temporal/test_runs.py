"""The temporal stage in runs: where it is on, and that files and frames agree."""

from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from lfdn_video.cli.commands import main
from lfdn_video.cli.formatting import format_summary
from lfdn_video.errors import OptionError
from lfdn_video.inference.degradation import (
    WHOLE_FRAMES,
    DegradationKind,
    make_degrading_engine,
)
from lfdn_video.inference.engine import Engine
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions, Task, Temporal
from lfdn_video.pipeline import Summary, restore, restored_frames
from lfdn_video.temporal.stage import TemporalSummary
from tests.support.fakes import identity_engine
from tests.support.rain import (
    COUNT,
    derain_timidly,
    noisy,
    rain,
    refine,
    still,
    timid_engine,
    to_frames,
    write,
)
from tests.support.runs import summary as past_summary

SAMPLES = Path(__file__).parents[2] / "samples"
LOSSLESS = EncodeOptions(codec="ffv1")
FRAMES = to_frames(rain(noisy(still())))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Rain before a still camera, in ffv1."""
    return write(tmp_path / "clip.mkv", FRAMES)


def run(source: Path, target: Path, task: Task = "derain", temporal: Temporal = "auto") -> Summary:
    """Restore by a timid network."""
    with timid_engine() as engine:
        return restore(source, target, task=task, temporal=temporal, engine=engine, encode=LOSSLESS)


def read(path: Path) -> list[Frame]:
    with open_reader(path) as reader:
        return list(reader.frames())


def planes(path: Path) -> list[list[bytes]]:
    return [[plane.tobytes() for plane in frame.planes] for frame in read(path)]


def test_video_is_refined_by_its_neighbouring_frames(clip: Path) -> None:
    summary = run(clip, clip.with_name("after.mkv"))
    assert summary.temporal is not None
    assert summary.temporal.frames > COUNT // 2
    run(clip, clip.with_name("single.mkv"), temporal="off")
    refined, _ = refine(read(clip), read(clip.with_name("single.mkv")))
    wanted = [[plane.tobytes() for plane in frame.planes] for frame in refined]
    assert planes(clip.with_name("after.mkv")) == wanted


def test_stage_that_is_off_changes_nothing(clip: Path) -> None:
    with identity_engine() as engine:
        target = clip.with_name("after.mkv")
        summary = restore(clip, target, engine=engine, temporal="off", encode=LOSSLESS)
    assert summary.temporal is None
    assert summary.temporal_off == "not asked for"
    assert "temporal" not in summary.stages
    assert planes(clip.with_name("after.mkv")) == planes(clip)


def test_deblur_has_no_temporal_stage(clip: Path) -> None:
    assert run(clip, clip.with_name("after.mkv"), task="deblur").temporal is None


@pytest.mark.parametrize("task", ["derain", "deblur", "rain"])
def test_engine_says_what_it_is_for(clip: Path, task: str) -> None:
    with Engine(derain_timidly, task=task) as engine:
        summary = restore(clip, clip.with_name("after.mkv"), engine=engine, encode=LOSSLESS)
        frames = [frame.image for frame in restored_frames(clip, engine=engine)]
    assert (summary.temporal is not None) == (task == "derain")
    assert summary.temporal_off == (None if task == "derain" else "not for this task")
    before = [
        frame.image
        for frame in restored_frames(clip, engine=Engine(derain_timidly), temporal="off")
    ]
    differ = any((one != other).any() for one, other in zip(before, frames, strict=True))
    assert differ == (task == "derain")


@pytest.mark.parametrize("kind", ["rain", "blur"])
def test_drawn_rain_and_blur_are_left_alone(clip: Path, kind: DegradationKind) -> None:
    with make_degrading_engine(kind) as engine:
        target = clip.with_name("after.mkv")
        summary = restore(clip, target, engine=engine, encode=LOSSLESS, inference=WHOLE_FRAMES)
    assert summary.temporal_off == "not for this task"


def test_other_words_than_auto_and_off_are_refused(clip: Path) -> None:
    with pytest.raises(OptionError, match="neither auto nor off"):
        run(clip, clip.with_name("after.mkv"), temporal=cast("Temporal", "on"))


def test_restored_frames_are_refined_too(clip: Path) -> None:
    with timid_engine() as engine:
        single = [frame.image for frame in restored_frames(clip, engine=engine, temporal="off")]
        refined = [frame.image for frame in restored_frames(clip, engine=engine)]
    assert len(refined) == COUNT
    assert any((one != other).any() for one, other in zip(single, refined, strict=True))


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        ([f"frame_{number:03}.png" for number in range(7, 12)], True),
        ([f"{number}.png" for number in range(8, 13)], True),
        (["a.png", "b.png", "c.png", "d.png", "e.png"], False),
        (["1.png", "2.png", "4.png", "5.png", "6.png"], False),
        (["a1.png", "b2.png", "c3.png", "d4.png", "e5.png"], False),
        (["1.png"], False),
    ],
)
def test_images_are_a_sequence_if_their_names_count_up(
    clip: Path, names: list[str], numbered: bool
) -> None:
    folder = clip.with_name("images")
    folder.mkdir()
    run(clip, clip.with_name("all_%d.png"), temporal="off")
    for number, name in enumerate(names):
        clip.with_name(f"all_{number + 1}.png").rename(folder / name)
    summary = run(folder, clip.with_name("after"))
    assert (summary.temporal is not None) == numbered
    reason = "a single image" if len(names) == 1 else "images not numbered in a row"
    assert summary.temporal_off == (None if numbered else reason)


def test_pattern_of_numbered_images_is_a_sequence(clip: Path) -> None:
    run(clip, clip.with_name("all_%d.png"), temporal="off")
    summary = run(clip.with_name("all_%d.png"), clip.with_name("after_%d.png"))
    assert summary.temporal is not None
    assert summary.temporal.frames > 0


@pytest.mark.parametrize("name", ["rotated.mp4", "odd_size_10bit.mkv", "variable_rate.mp4"])
def test_awkward_sample_keeps_its_frames(name: str, tmp_path: Path) -> None:
    summary = run(SAMPLES / name, tmp_path / "after.mkv")
    assert summary.temporal is not None
    assert summary.frames == len(planes(SAMPLES / name))
    assert summary.frames == summary.temporal.frames + sum(summary.temporal.left.values())


def test_deinterlaced_frames_are_refined(clip: Path) -> None:
    with timid_engine() as engine:
        target = clip.with_name("after.mkv")
        summary = restore(clip, target, deinterlace=True, engine=engine, encode=LOSSLESS)
    assert summary.temporal is not None
    assert summary.frames == COUNT


@pytest.mark.parametrize("command", [["deblur"], ["degrade", "rain"]])
def test_other_commands_have_no_such_option(command: list[str], clip: Path) -> None:
    result = CliRunner().invoke(main, [*command, str(clip), "--temporal", "off"])
    assert result.exit_code == 2
    assert "No such option" in result.output


def test_last_line_tells_what_neighbouring_frames_did() -> None:
    past = past_summary(temporal=TemporalSummary(50, 1.234, {"too few neighbours": 35}))
    line = format_summary(past)
    assert line.endswith(
        "neighbouring frames: rain taken out of 50 (1.2/255), not of 35 (too few neighbours: 35)"
    )
