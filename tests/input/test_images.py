"""Reading images: what is refused, and what a folder says of the files that it does not read."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lfdn_video.errors import InputError
from lfdn_video.input.images import ImageReader
from lfdn_video.media import MATRIX_UNTAGGED


def write_image(file: Path) -> bytes:
    cv2.imwrite(str(file), np.full((16, 24, 3), 90, np.uint8))
    return file.read_bytes()


def animated_png(file: Path) -> None:
    content = write_image(file)
    end_of_header = content.index(b"IHDR") + 4 + 13 + 4
    control = struct.pack(">I4sIII", 8, b"acTL", 2, 0, 0)
    file.write_bytes(content[:end_of_header] + control + content[end_of_header:])


def animated_webp(file: Path) -> None:
    data = write_image(file)[12:]
    extended = struct.pack("<4sIB3x3s3s", b"VP8X", 10, 2, b"\x17\0\0", b"\x0f\0\0") + data
    file.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(extended), b"WEBP") + extended)


def two_pages(file: Path) -> None:
    page = np.full((16, 24, 3), 90, np.uint8)
    cv2.imwritemulti(str(file), [page, page])


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.png", animated_png), ("a.webp", animated_webp), ("a.tif", two_pages)],
)
def test_file_of_several_pictures_is_refused_by_name(name: str, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / name
    write(file)
    with pytest.raises(InputError, match=f"{name}: holds several pictures"):
        ImageReader(file)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg", "a.bmp"])
def test_file_of_one_picture_is_read(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / name)
    assert len(list(ImageReader(tmp_path / name).frames())) == 1


def test_folder_names_what_it_does_not_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for name in ("b.avif", "c.gif", "e.heic", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    (warning,) = ImageReader(tmp_path).warnings
    assert warning == f"{tmp_path}: b.avif, c.gif, e.heic: not images that can be read; left out"


def test_folder_of_images_alone_says_nothing(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    assert not list(ImageReader(tmp_path).warnings)


def test_long_list_is_cut(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for index in range(8):
        (tmp_path / f"{index}.txt").write_bytes(b"x")
    (warning,) = ImageReader(tmp_path).warnings
    assert "4.txt and 3 more: not images" in warning


def write_photo(file: Path, *options: int) -> bytes:
    """Write an image whose samples fill most of the file."""
    shades = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(file), shades, options)
    return file.read_bytes()


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", ()), ("a.jpg", PROGRESSIVE), ("a.png", ()), ("a.webp", ()), ("a.bmp", ())],
)
def test_cut_off_image_is_refused(
    name: str, options: tuple[int, ...], part: float, tmp_path: Path
) -> None:
    file = tmp_path / name
    content = write_photo(file, *options)
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=f"{name}: cannot be decoded: it is damaged or cut off"):
        ImageReader(file)


def test_cut_off_image_of_a_folder_is_left_out(tmp_path: Path) -> None:
    for number in range(3):
        content = write_photo(tmp_path / f"{number}.jpg")
    (tmp_path / "1.jpg").write_bytes(content[: len(content) // 2])
    reader = ImageReader(tmp_path)
    assert [frame.name for frame in reader.frames()] == ["0.jpg", "2.jpg"]
    (warning,) = reader.warnings
    assert warning.startswith(f"{tmp_path / '1.jpg'}: cannot be decoded: it is damaged or cut off")
    assert warning.endswith("; it is left out")
    assert reader.dropped_frames["cannot be decoded"] == 1


def test_jpeg_with_data_behind_its_end_is_read(tmp_path: Path) -> None:
    """Phones put videos there, and some cameras thumbnails."""
    content = write_photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(content + content[: len(content) // 2])
    assert len(list(ImageReader(tmp_path / "a.jpg").frames())) == 1


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG"])
def test_jpeg_is_an_image_by_its_other_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(write_image(tmp_path / "b.jpeg"))
    assert ImageReader(tmp_path / name).info.codec == "mjpeg"


def test_tiff_that_ffmpeg_reads_as_something_else_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (32, 16)).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(InputError, match=r"JPEG compression.*save it as PNG first"):
        ImageReader(tmp_path / "a.tif")


def test_tiff_that_ffmpeg_does_not_know_is_not_called_damaged_alone(tmp_path: Path) -> None:
    Image.new("F", (32, 16)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="or of a kind of TIFF that FFmpeg does not read"):
        ImageReader(tmp_path / "a.tif")


def test_tiff_of_ycbcr_has_its_colours(tmp_path: Path) -> None:
    """Uncompressed YCbCr in TIFF is full range (TIFF 6.0, section 21)."""
    Image.new("RGB", (32, 16), (250, 10, 10)).convert("YCbCr").save(tmp_path / "a.tif")
    info = ImageReader(tmp_path / "a.tif").info
    assert info.format.family == "yuv"
    assert info.colour.is_full_range(info.format)


def test_gray_has_no_matrix_of_rgb(tmp_path: Path) -> None:
    Image.new("L", (32, 16), 90).save(tmp_path / "a.png")
    assert ImageReader(tmp_path / "a.png").info.colour.matrix == MATRIX_UNTAGGED
