"""The density of image files, judged by Pillow."""

import io

import pytest
from PIL import Image

from lfdn_video.image_density import read_density, set_density


def write(kind: str, **words: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), (90, 80, 70)).save(buffer, kind, **words)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_density_is_read(kind: str) -> None:
    found = read_density(write(kind, dpi=(300, 150)))
    assert found is not None
    assert [float(value) for value in found] == pytest.approx([300, 150], abs=0.02)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_file_without_a_density_has_none(kind: str) -> None:
    assert read_density(write(kind)) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_density_that_is_set_is_the_files(kind: str) -> None:
    density = read_density(write("PNG", dpi=(300, 150)))
    assert density is not None
    content = set_density(write(kind, dpi=(96, 96)), density)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        assert image.getpixel((3, 3)) == pytest.approx((90, 80, 70), abs=2)


def test_file_that_cannot_say_it_is_left_as_it_is() -> None:
    density, webp = read_density(write("PNG", dpi=(300, 300))), write("WEBP")
    assert density is not None
    assert set_density(webp, density) == webp


def test_broken_header_has_no_density() -> None:
    assert read_density(b"BM" + bytes(30)) is None
    assert read_density(b"\xff\xd8\xff\xe0\x00\x07JFIF\0") is None
