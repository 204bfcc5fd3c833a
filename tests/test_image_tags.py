"""EXIF and other metadata of images: read, and copied byte by byte."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from lfdn_video import image_tags

ORIENTATION = 0x0112


def picture(kind: str, orientation: int | None = None, **options: object) -> bytes:
    pixels = np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3)
    image, content = Image.fromarray(pixels), io.BytesIO()
    exif = image.getexif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    image.save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("number", range(1, 9))
def test_read_orientation_agrees_with_pillow(kind: str, number: int) -> None:
    content = picture(kind, number, **({"lossless": True} if kind == "WEBP" else {}))
    stored = np.asarray(Image.open(io.BytesIO(content)))
    turn, flip = image_tags.read_orientation(content)
    upright = np.rot90(stored, -turn // 90)
    upright = upright[:, ::-1] if flip else upright
    assert np.array_equal(
        upright, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_image_without_exif_is_upright(kind: str) -> None:
    assert image_tags.read_orientation(picture(kind)) == (0, False)


def test_invalid_exif_is_no_error() -> None:
    content = picture("JPEG", 6).replace(b"Exif\0\0II", b"Exif\0\0XX")
    assert image_tags.read_orientation(content) in image_tags.ORIENTATIONS.values()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_copy_tags_copies_exif_and_colour_profile(kind: str) -> None:
    source = picture(kind, 6, icc_profile=b"profile" * 20_000)
    carried = Image.open(io.BytesIO(image_tags.copy_tags(source, picture(kind))))
    assert carried.getexif()[ORIENTATION] == 6
    assert carried.info["icc_profile"] == b"profile" * 20_000


def test_copy_tags_copies_texts_of_a_png() -> None:
    texts = PngInfo()
    texts.add_text("Title", "Regen")
    source = picture("PNG", pnginfo=texts)
    carried = Image.open(io.BytesIO(image_tags.copy_tags(source, picture("PNG"))))
    assert carried.info["Title"] == "Regen"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_copy_tags_keeps_the_samples_of_the_target(kind: str) -> None:
    target = picture(kind)
    carried = image_tags.copy_tags(picture(kind, 3), target)
    before, after = (Image.open(io.BytesIO(content)) for content in (target, carried))
    assert before.tobytes() == after.tobytes()


def test_has_tags_finds_exif() -> None:
    assert image_tags.has_tags(picture("JPEG", 6))
    assert image_tags.has_tags(picture("PNG", 6))
    assert not image_tags.has_tags(picture("PNG"))
    assert not image_tags.has_tags(picture("BMP"))


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_has_tags_finds_exif_and_profile_in_webp_and_tiff(kind: str) -> None:
    assert not image_tags.has_tags(picture(kind))
    assert image_tags.has_tags(picture(kind, icc_profile=b"profile"))
    exif = Image.Exif()
    exif[0x010E] = "rain"
    assert image_tags.has_tags(picture(kind, exif=exif))


def test_copy_tags_keeps_density_and_comment_of_a_jpeg() -> None:
    source = picture("JPEG", dpi=(300, 300), comment=b"roof, camera 2")
    target = picture("JPEG", comment=b"the encoder")
    carried = Image.open(io.BytesIO(image_tags.copy_tags(source, target)))
    assert carried.info["dpi"] == (300, 300)
    assert carried.info["comment"] == b"roof, camera 2"
    carried.load()


def test_index_of_further_pictures_is_left_out() -> None:
    first, second, content = Image.new("RGB", (24, 16)), Image.new("RGB", (24, 16)), io.BytesIO()
    first.save(content, "MPO", save_all=True, append_images=[second])
    source = content.getvalue()
    assert image_tags.holds_more(source)
    carried = image_tags.copy_tags(source, picture("JPEG"))
    assert not image_tags.holds_more(carried)
    assert Image.open(io.BytesIO(carried)).format == "JPEG"  # and no longer MPO


@pytest.mark.parametrize("mark", [b"hdrgm:Version", b"Camera:MotionPhoto", b"Container:Directory"])
def test_announcement_of_a_gain_map_or_video_is_left_out(mark: bytes) -> None:
    source = picture("JPEG", xmp=b"<x " + mark + b"='1'/>")
    assert image_tags.holds_more(source)
    assert mark not in image_tags.copy_tags(source, picture("JPEG"))


def test_other_xmp_is_kept() -> None:
    source = picture("JPEG", xmp=b"<x dc:title='roof'/>")
    assert not image_tags.holds_more(source)
    assert b"dc:title" in image_tags.copy_tags(source, picture("JPEG"))


@pytest.mark.parametrize(
    "behind", [b"\0\0\0\x18ftypmp42", b"MotionPhoto_DataSEFH", image_tags.JPEG_MAGIC + b"\xe0"]
)
def test_what_is_appended_to_a_jpeg_is_found(behind: bytes) -> None:
    assert image_tags.holds_more(picture("JPEG") + behind)
    assert not image_tags.holds_more(picture("JPEG") + bytes(64))


@pytest.mark.parametrize("space", [b"CMYK", b"GRAY"])
def test_colour_profile_of_other_samples_is_left_out(space: bytes) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = own[:16] + space + own[20:]
    assert image_tags.has_foreign_profile(picture("JPEG", icc_profile=other))
    assert not image_tags.has_foreign_profile(picture("JPEG", icc_profile=own))
    for profile, kept in ((own, own), (other, None)):
        content = image_tags.copy_tags(picture("JPEG", icc_profile=profile), picture("JPEG"))
        with Image.open(io.BytesIO(content)) as image:
            assert image.info.get("icc_profile") == kept
