"""End to end, with an identity network and a lossless codec: planes, pts and copied packets of
every sample and every pixel format are unchanged."""

from pathlib import Path

import numpy as np
import pytest

from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions, InferenceOptions
from lfdn_video.pipeline import restore
from tests.support.clips import Clip, packets
from tests.support.fakes import identity_engine

SAMPLES = Path(__file__).parent.parent / "samples"
LOSSLESS = EncodeOptions(codec="ffv1")
FORMATS = {  # and a codec whose decoder gives them
    "yuv420p": "ffv1",
    "yuvj420p": "mjpeg",
    "yuv422p10le": "ffv1",
    "yuv444p": "ffv1",
    "gray": "ffv1",
    "gbrp": "libx264rgb",  # which is fed in another order
    "gbrp10le": "ffv1",
}
PACKETS = [
    ("rainy_dashcam.mp4", "audio"),
    ("variable_rate.mp4", "audio"),
    ("many_streams.mkv", "audio"),
    ("many_streams.mkv", "subtitle"),
]
CLIPS = (
    "rainy_dashcam.mp4",
    "variable_rate.mp4",
    "odd_size_10bit.mkv",
    "rotated.mp4",
    "many_streams.mkv",
    "cut_short.mp4",
)


def clip(name: str, size: tuple[int, int], path: Path) -> Path:
    fed = "rgb24" if name == "gbrp" else name
    Clip(codec=FORMATS[name], pixel_format=fed, size=size).make(path)
    assert frames(path)[0].format.name == name
    return path


def frames(path: Path) -> list[Frame]:
    with open_reader(path) as reader:
        return list(reader.frames())


def times(path: Path) -> list[object]:
    with open_reader(path) as reader:
        return [frame.pts * reader.info.time_base for frame in reader.frames()]


def assert_same_planes(before: Path, after: Path) -> None:
    for one, other in zip(frames(before), frames(after), strict=True):
        assert one.format.depth == other.format.depth
        for plane, copy in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(plane, copy)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (67, 45)], ids=["even", "odd"])
def test_pixel_format_is_restored_bit_by_bit(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    source = clip(name, size, tmp_path / "in.mkv")
    target = tmp_path / "out.mkv"
    restore(source, target, engine=identity_engine(), encode=LOSSLESS, temporal="off")
    assert_same_planes(source, target)


@pytest.mark.parametrize("name", FORMATS)
def test_tiled_frames_are_restored_bit_by_bit(name: str, tmp_path: Path) -> None:
    source = clip(name, (300, 170), tmp_path / "in.mkv")
    tiles = InferenceOptions(tile=128, overlap_px=16, batch=3)
    target = tmp_path / "out.mkv"
    restore(
        source, target, engine=identity_engine(), encode=LOSSLESS, temporal="off", inference=tiles
    )
    assert_same_planes(source, target)


@pytest.mark.parametrize("name", CLIPS)
def test_sample_is_restored_bit_by_bit_at_its_times(name: str, tmp_path: Path) -> None:
    source, target = SAMPLES / name, (tmp_path / "out").with_suffix(Path(name).suffix)
    summary = restore(source, target, engine=identity_engine(), encode=LOSSLESS, temporal="off")
    assert_same_planes(source, target)
    assert times(source) == times(target)
    assert summary.frames == len(times(source))


@pytest.mark.parametrize(("name", "kind"), PACKETS)
def test_packets_of_the_sample_are_copied(name: str, kind: str, tmp_path: Path) -> None:
    source, target = SAMPLES / name, (tmp_path / "out").with_suffix(Path(name).suffix)
    restore(source, target, engine=identity_engine(), encode=LOSSLESS, temporal="off")
    before = packets(source, kind)
    assert before
    assert packets(target, kind) == before
