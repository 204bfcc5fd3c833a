"""Kinds of pictures beyond the usual: density, profiles, one picture in a video's name, players."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from lfdn_video.input.open import open_reader
from lfdn_video.options import EncodeOptions
from lfdn_video.output.open import open_writer
from lfdn_video.verify import verify

SIZE = (96, 64)


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.linear_gradient("L").resize(SIZE)
    gradients = Image.merge("RGB", (image, image.rotate(180), Image.new("L", SIZE, 70)))
    return gradients.convert(mode)


def copy(source: Path, target: Path, options: EncodeOptions | None = None) -> list[str]:
    with open_reader(source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return [*reader.warnings, *writer.warnings]


def sequence(folder: Path, mode: str) -> Path:
    folder.mkdir()
    for number in range(3):
        picture(mode).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("there", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("here", ["jpg", "png", "bmp", "tif"])
def test_density_is_kept_from_any_kind_to_any_other(tmp_path: Path, here: str, there: str) -> None:
    picture().save(tmp_path / f"in.{here}", dpi=(300, 300))
    copy(tmp_path / f"in.{here}", tmp_path / f"out.{there}")
    with Image.open(tmp_path / f"out.{there}") as image:
        image.load()
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_profile_of_cmyk_is_left_out_and_named(tmp_path: Path) -> None:
    profile = bytes(16) + b"CMYK" + bytes(108)
    picture("CMYK").save(tmp_path / "in.jpg", icc_profile=profile)
    notes = copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert any("the colour profile is left out" in note for note in notes)
    with Image.open(tmp_path / "out.jpg") as image:
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("ending", ["jfif", "ppm", "jp2", "pcx", "gif", "avif"])
def test_one_picture_of_any_kind_becomes_a_picture(tmp_path: Path, ending: str) -> None:
    picture().save(tmp_path / f"in.{ending}", "JPEG" if ending == "jfif" else None)
    notes = copy(tmp_path / f"in.{ending}", tmp_path / "out.png")
    assert not any("timestamps" in note for note in notes)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == SIZE


@pytest.mark.parametrize(
    ("mode", "ending", "name"),
    [
        ("RGB", "webm", "yuv420p"),
        ("RGBA", "webm", "yuv420p"),
        ("L", "webm", "yuv420p"),
        ("RGBA", "mp4", "yuv420p"),
        ("RGB", "mkv", "yuv444p"),
    ],
)
def test_images_become_a_video_that_players_show(
    tmp_path: Path, mode: str, ending: str, name: str
) -> None:
    target = tmp_path / f"out.{ending}"
    copy(sequence(tmp_path / "in", mode), target)
    with av.open(str(target)) as container:
        assert container.streams.video[0].pix_fmt == name
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_deep_images_become_a_video_that_players_show(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    deep = np.random.default_rng(1).integers(0, 65536, (64, 96, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "in" / "1.png"), deep)
    copy(tmp_path / "in", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


def test_transparent_video_of_rgb_goes_into_webm(tmp_path: Path) -> None:
    """libvpx refuses RGB with transparency, so it is not chosen."""
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream = container.add_stream("qtrle", 25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "argb"
        samples = np.asarray(picture("RGBA"))
        frame = av.VideoFrame.from_ndarray(samples, format="rgba").reformat(format="argb")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    copy(tmp_path / "in.mov", tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_verify_passes_a_video_of_rgb_images_and_fails_another_colour(
    tmp_path: Path, ending: str
) -> None:
    source = sequence(tmp_path / "in", "RGB")
    target = tmp_path / f"out.{ending}"
    copy(source, target)
    states = {check.name: check.state for check in verify(source, target)}
    assert states["picture"] == "warning"
    for file in source.iterdir():
        red, green, blue = Image.open(file).split()
        Image.merge("RGB", (blue, green, red)).save(file)
    states = {check.name: check.state for check in verify(source, target)}
    assert states["picture"] == "failed"


def test_gray_images_have_no_matrix_of_rgb_in_a_video(tmp_path: Path) -> None:
    copy(sequence(tmp_path / "in", "L"), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].codec_context.colorspace != 0
