"""What is shown stays, whatever codec and container can say of range and matrix.

The ffmpeg program decodes source and target to RGB by their tags.
"""

from pathlib import Path

import numpy as np
import pytest

from lfdn_video.options import EncodeOptions
from lfdn_video.verify import verify
from tests.support.ffmpeg_program import VIDEO, make, rgb
from tests.test_containers import copy

pytestmark = pytest.mark.needs_ffmpeg

WIDTH_PX, HEIGHT_PX = 160, 96
TOLERANCE = 16
"""Between 8-bit matrices of saturated bars, lossy codecs included. A matrix that is told wrongly is
off by 24 and more."""
GRAY_TOLERANCE = 5
"""In the gray bar. A range that is told wrongly is off by 11 there."""

TARGETS: list[tuple[str, str | None]] = [
    ("mp4", None),
    ("mp4", "libx265"),
    ("mp4", "libsvtav1"),
    ("mp4", "mpeg4"),
    ("mp4", "mpeg2video"),
    ("mov", "prores_ks"),
    ("mov", "mjpeg"),
    ("mov", "png"),
    ("mkv", None),
    ("mkv", "ffv1"),
    ("mkv", "libvpx"),
    ("mkv", "mpeg4"),
    ("mkv", "mpeg2video"),
    ("mkv", "mjpeg"),
    ("mkv", "rawvideo"),
    ("webm", None),
    ("webm", "libvpx"),
    ("avi", None),
    ("avi", "ffv1"),
    ("avi", "mjpeg"),
    ("avi", "rawvideo"),
    ("avi", "libx264"),
    ("nut", "ffv1"),
    ("ts", None),
    ("ts", "mpeg2video"),
    ("mxf", None),
    ("mpg", None),
    ("wmv", None),
    ("wmv", "wmv2"),
    ("flv", None),
    ("flv", "flv"),
    ("ogv", None),
    ("3gp", None),
]
MATRICES = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
RED = "color=0xc03020:size=160x96:rate=25:duration=0.12,scale=out_color_matrix=bt709,format=yuv420p"
PIXELS = {"mjpeg": "yuvj420p", "mpeg1video": "yuv420p", "mpeg2video": "yuv420p"}
RANGES = {"full": "pc", "limited": "tv"}


def bars(path: Path, matrix: str, levels: str) -> Path:
    """Write colour bars as tagged H.264."""
    scale = f"scale=out_color_matrix={matrix}:out_range={levels}:flags=accurate_rnd+full_chroma_int"
    source = f"smptebars=size={WIDTH_PX}x{HEIGHT_PX}:rate=25:duration=0.12,format=gbrp"
    tags = ("-colorspace", MATRICES[matrix], "-color_range", RANGES[levels])
    words = ("-vf", f"{scale},format=yuv420p", *tags, "-c:v", "libx264", "-crf", "1")
    return make(path, "-f", "lavfi", "-i", source, *words)


def shown(path: Path) -> np.ndarray:
    """Return the RGB samples in the middle of the bars."""
    samples = np.frombuffer(rgb(path), np.uint8).reshape(HEIGHT_PX, WIDTH_PX, 3)
    return samples[8:56:8, 10::22].astype(int)


@pytest.mark.parametrize("levels", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_bars_look_the_same_in_every_codec_and_container(
    tmp_path: Path, matrix: str, levels: str
) -> None:
    source = bars(tmp_path / "in.mp4", matrix, levels)
    before = shown(source)
    worst, worst_gray = {}, {}
    for ending, codec in TARGETS:
        target = tmp_path / f"{codec}.{ending}"
        copy(source, target, EncodeOptions(codec=codec))
        off = np.abs(shown(target) - before)
        worst[ending, codec] = int(off.max())
        worst_gray[ending, codec] = int(off[:, 0].max())
    assert {cell: off for cell, off in worst.items() if off > TOLERANCE} == {}
    assert {cell: off for cell, off in worst_gray.items() if off > GRAY_TOLERANCE} == {}


@pytest.mark.parametrize(
    ("ending", "codec", "said"),
    [
        ("avi", "mpeg4", "yuv420p of limited range for mpeg4"),
        ("mov", "prores_ks", "from yuvj420p to yuv422p10le for prores_ks of limited range"),
        ("webm", "libvpx", "yuv420p of limited range for libvpx"),
        ("avi", "ffv1", "yuv420p of limited range for ffv1"),
        ("mp4", "libx264", None),
        ("mkv", "ffv1", None),
    ],
)
def test_conversion_of_the_range_is_said(
    tmp_path: Path, ending: str, codec: str, said: str | None
) -> None:
    source = bars(tmp_path / "in.mp4", "bt601", "full")
    notes = [
        note.partition(": ")[2]
        for note in copy(source, tmp_path / f"out.{ending}", EncodeOptions(codec=codec))
    ]
    assert notes == ([] if said is None else [f"frames are converted {said}"]) or notes == [
        f"frames are converted to {said}"
    ]


def test_motion_jpeg_keeps_its_contrast_in_avi(tmp_path: Path) -> None:
    gradient = "gradients=size=160x96:c0=black:c1=white:x0=0:y0=0:x1=159:y1=0:duration=0.2:rate=25"
    words = ("-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "2")
    source = make(tmp_path / "in.avi", "-f", "lavfi", "-i", f"{gradient}:speed=0.00001", *words)
    copy(source, tmp_path / "out.avi")
    assert np.abs(shown(tmp_path / "out.avi") - shown(source)).max() <= 4


@pytest.mark.parametrize(
    ("ending", "codec"), [("mov", "mjpeg"), ("mkv", "libvpx"), ("wmv", "wmv2"), ("avi", None)]
)
@pytest.mark.parametrize("matrix", ["bt709", "bt2020"])
def test_matrix_that_the_target_cannot_name_is_a_note(
    tmp_path: Path, ending: str, codec: str | None, matrix: str
) -> None:
    """The samples are converted, so `verify` must not call it a failure."""
    source = bars(tmp_path / "in.mkv", matrix, "limited")
    warnings = copy(source, tmp_path / f"out.{ending}", EncodeOptions(codec=codec))
    assert any("matrix" in note for note in warnings)
    (picture,) = [
        each for each in verify(source, tmp_path / f"out.{ending}") if each.name == "picture"
    ]
    assert picture.state == "warning", picture.text


def test_matrix_that_is_only_told_is_a_failure(tmp_path: Path) -> None:
    """VP8 shows BT.601 whatever the source was, so copied samples have another tint."""
    source = make(tmp_path / "in.mkv", "-f", "lavfi", "-i", RED, *("-colorspace", "bt709"))
    words = ("-colorspace", "bt470bg", "-c:v", "libvpx", "-crf", "4", "-b:v", "9M")
    target = make(tmp_path / "out.webm", "-i", source, "-vf", "setparams=colorspace=0", *words)
    (picture,) = [each for each in verify(source, target) if each.name == "picture"]
    assert picture.state == "failed"


@pytest.mark.parametrize(
    ("source", "target", "moves"),
    [
        (("mjpeg", "avi"), ("libx264", "mkv"), True),
        (("mpeg1video", "mpg"), ("libx264", "mp4"), True),
        (("mjpeg", "avi"), ("mjpeg", "avi"), False),
        (("mpeg2video", "ts"), ("libx264", "mkv"), False),
    ],
)
def test_chroma_that_moves_is_named(
    tmp_path: Path, source: tuple[str, str], target: tuple[str, str], *, moves: bool
) -> None:
    codec, ending = source
    clip = make(tmp_path / f"in.{ending}", *VIDEO, "-c:v", codec, "-pix_fmt", PIXELS[codec])
    options = EncodeOptions(codec=target[0])
    warnings = copy(clip, tmp_path / f"out.{target[1]}", options)
    assert any("colours move by up to half a pixel" in note for note in warnings) == moves
