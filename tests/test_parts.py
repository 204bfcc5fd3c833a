"""How a video is divided."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from lfdn_video.errors import InputError
from lfdn_video.input.reader import Reader
from lfdn_video.media import Frame
from lfdn_video.parts import PART_FRAMES, Part, divide
from tests.support.clips import Clip


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    clip = Clip(pts=range(0, 1200, 2), time_base=Fraction(1, 50), codec="libx264")
    return Reader(clip.make(tmp_path / "clip.mp4"))


def find_pts(reader: Reader) -> list[int]:
    return [frame.pts for frame in reader.frames()]


@pytest.mark.parametrize(("segment", "sizes"), [(250, [250, 250, 100]), (60, [240, 240, 120])])
def test_parts_are_whole_segments(reader: Reader, segment: int, sizes: list[int]) -> None:
    parts = divide(find_pts(reader), reader.info, segment_frames=segment, reach=4)
    assert [len(part.pts) for part in parts] == sizes
    assert [(len(part.before), len(part.after)) for part in parts] == [(0, 4), (4, 4), (4, 0)]
    assert [each for part in parts for each in part.pts] == find_pts(reader)
    assert {part.origin_pts for part in parts} == {parts[0].pts[0]}


def test_reading_a_part_decodes_its_frames_and_those_around_it(reader: Reader) -> None:
    for part in divide(find_pts(reader), reader.info, segment_frames=PART_FRAMES, reach=4):
        own = Reader(reader.info.path, part.span)
        found = tuple(frame.pts for frame in part.read(own))
        assert found == (*part.before, *part.pts, *part.after)


def _lose_one(part: Part) -> Sequence[int]:
    return (*part.pts[:5], *part.pts[6:])


def _add_one(part: Part) -> Sequence[int]:
    return (*part.pts[:5], part.pts[5] - 1, *part.pts[5:])


@pytest.mark.parametrize("change", [_lose_one, _add_one, lambda part: part.pts[:-1]])
def test_other_frames_than_the_packets_say_are_refused(
    reader: Reader, change: Callable[[Part], Sequence[int]]
) -> None:
    part = divide(find_pts(reader), reader.info, segment_frames=PART_FRAMES, reach=0)[1]
    wrong = replace(part, pts=tuple(change(part)))

    def read() -> Generator[Frame]:
        return wrong.read(Reader(reader.info.path, part.span))

    with pytest.raises(InputError, match="cannot be restored in parts"):
        list(read())
