"""Images in and out: files, folders, patterns, and between images and videos."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from lfdn_video.errors import InputError, OptionError, OutputError
from lfdn_video.input.open import open_reader
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output.images import ImageWriter
from lfdn_video.output.open import open_writer
from tests.support.clips import Clip, bt709, times
from tests.support.datasets import draw_image

BARS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255))


def save(path: Path, mode: str = "RGB", side: tuple[int, int] = (64, 48), seed: int = 1) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(draw_image(seed, side[1], side[0])).convert(mode).save(path)
    return path


def folder(path: Path, count: int = 3, *, first: int = 8) -> Path:
    for number in range(first, first + count):
        save(path / f"frame_{number}.png", seed=number)
    return path


def copy(source: Path, target: Path, options: EncodeOptions | None = None) -> list[str]:
    with open_reader(source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return [*reader.warnings, *writer.warnings]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def same(first: Path, second: Path) -> bool:
    return np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))


@pytest.mark.parametrize(
    ("ending", "mode"),
    [(ending, mode) for ending in ("png", "tif") for mode in ("RGB", "L", "RGBA", "LA")]
    + [("bmp", "RGB"), ("bmp", "L"), ("webp", "RGB")],
)
def test_lossless_images_are_unchanged(tmp_path: Path, ending: str, mode: str) -> None:
    source = save(tmp_path / "in.png", mode)
    assert copy(source, tmp_path / f"out.{ending}") == []
    assert same(source, tmp_path / f"out.{ending}")


def test_webp_keeps_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(draw_image(1))
    image.putalpha(Image.fromarray(draw_image(2)).convert("L"))
    image.save(tmp_path / "in.png")
    copy(tmp_path / "in.png", tmp_path / "out.webp")
    assert same(tmp_path / "in.png", tmp_path / "out.webp")


def test_palette_image_keeps_its_colours(tmp_path: Path) -> None:
    Image.fromarray(draw_image(1)).quantize(32).save(tmp_path / "in.png")
    copy(tmp_path / "in.png", tmp_path / "out.png")
    before, after = (Image.open(tmp_path / name).convert("RGB") for name in ("in.png", "out.png"))
    assert before.tobytes() == after.tobytes()


def test_sixteen_bit_samples_are_unchanged(tmp_path: Path) -> None:
    deep = (np.arange(48 * 64, dtype=np.uint16) * 21).reshape(48, 64)
    Image.fromarray(deep).save(tmp_path / "in.png")
    copy(tmp_path / "in.png", tmp_path / "out.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), deep)


@pytest.mark.parametrize(
    ("subsampling", "name"), [(2, "yuvj420p"), (1, "yuvj422p"), (0, "yuvj444p")]
)
def test_jpeg_planes_are_encoded_without_conversion(
    tmp_path: Path, subsampling: int, name: str
) -> None:
    source = tmp_path / "in.jpg"
    target = tmp_path / "out.jpg"
    Image.fromarray(draw_image(1)).save(source, quality=95, subsampling=subsampling)
    assert copy(source, target) == []
    with open_reader(source) as before, open_reader(target) as after:
        assert before.info.format == after.info.format
        assert before.info.source_format == name
        pairs = zip(next(before.frames()).planes, next(after.frames()).planes, strict=True)
        worst = max(np.abs(a.astype(int) - b.astype(int)).mean() for a, b in pairs)
    assert worst < 1.5


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_rotated_photo_is_shown_as_before(tmp_path: Path, number: int, ending: str) -> None:
    image = Image.fromarray(draw_image(1))
    exif = image.getexif()
    exif[0x0112] = number
    image.save(tmp_path / "in.jpg", exif=exif, quality=95, subsampling=1)
    copy(tmp_path / "in.jpg", tmp_path / f"out.{ending}")
    shown = [
        np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)).convert("RGB")).astype(int)
        for name in ("in.jpg", f"out.{ending}")
    ]
    assert np.abs(shown[0] - shown[1]).mean() < 4


def test_photo_rotation_is_read_from_exif(tmp_path: Path) -> None:
    image = Image.fromarray(draw_image(1))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "in.jpg", exif=exif)
    with open_reader(tmp_path / "in.jpg") as reader:
        (frame,) = reader.frames()
    assert frame.info is not None
    assert (frame.info.rotation, frame.info.flip) == (90, False)


def test_exif_is_copied_to_jpeg_and_its_loss_elsewhere_is_warned_of(tmp_path: Path) -> None:
    image = Image.fromarray(draw_image(1))
    exif = image.getexif()
    exif[0x010E] = "rain"
    image.save(tmp_path / "in.jpg", exif=exif)
    assert copy(tmp_path / "in.jpg", tmp_path / "out.jpg") == []
    with Image.open(tmp_path / "out.jpg") as after:
        assert after.getexif()[0x010E] == "rain"
    assert "EXIF" in copy(tmp_path / "in.jpg", tmp_path / "out.png")[0]


def test_folder_is_read_by_number_and_written_under_the_same_names(tmp_path: Path) -> None:
    source, target = folder(tmp_path / "in"), tmp_path / "out"
    copy(source, target)
    names = ["frame_8.png", "frame_9.png", "frame_10.png"]
    with open_reader(source) as reader:
        assert [frame.name for frame in reader.frames()] == names
    assert all(same(source / name, target / name) for name in names)
    assert len(list(target.iterdir())) == 3


def test_folder_of_different_kinds_and_sizes_is_written_to_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", "RGBA", (40, 30))
    save(tmp_path / "in" / "b.jpg", "RGB", (63, 47))
    save(tmp_path / "in" / "c.bmp", "L", (8, 90))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    copy(tmp_path / "in", tmp_path / "out")
    sizes = {file.name: size(file) for file in (tmp_path / "out").iterdir()}
    assert sizes == {"a.png": (40, 30), "b.jpg": (63, 47), "c.bmp": (8, 90)}


def test_target_with_a_trailing_slash_is_a_new_folder(tmp_path: Path) -> None:
    source, target = folder(tmp_path / "in"), f"{tmp_path}/v1.2/"
    with open_reader(source) as reader, open_writer(target, reader.info) as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert (tmp_path / "v1.2" / "frame_8.png").is_file()


@pytest.mark.parametrize("pattern", ["frame_%d.png", "frame_*.png", "*.png"])
def test_pattern_finds_its_images(tmp_path: Path, pattern: str) -> None:
    source = folder(tmp_path / "in")
    save(source / "other.jpg")
    with open_reader(source / pattern) as reader:
        assert [frame.pts for frame in reader.frames()] == [0, 1, 2]


def test_pattern_target_numbers_from_one(tmp_path: Path) -> None:
    copy(folder(tmp_path / "in"), tmp_path / "out_%04d.png")
    names = sorted(file.name for file in tmp_path.glob("out_*"))
    assert names == ["out_0001.png", "out_0002.png", "out_0003.png"]


@pytest.mark.parametrize(("rate", "expected"), [(None, 25), (Fraction(30000, 1001), None)])
def test_images_become_a_video(tmp_path: Path, rate: Fraction | None, expected: int | None) -> None:
    options = EncodeOptions(codec="ffv1", frame_rate=rate)
    copy(folder(tmp_path / "in"), tmp_path / "out.mov", replace(options, codec="libx264"))
    step = 1 / (rate or Fraction(expected or 0))
    assert times(tmp_path / "out.mov") == [0, step, 2 * step]


def test_rotated_photo_makes_a_rotated_video(tmp_path: Path) -> None:
    image = Image.fromarray(draw_image(1))
    exif = image.getexif()
    exif[0x0112] = 5
    image.save(tmp_path / "in.jpg", exif=exif)
    copy(tmp_path / "in.jpg", tmp_path / "out.mp4")
    with open_reader(tmp_path / "out.mp4") as reader:
        assert (reader.info.rotation, reader.info.flip) == (90, True)


def test_images_of_different_sizes_are_refused_as_a_video(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png", side=(32, 32))
    with pytest.raises(OutputError, match=r"b\.png: is 32x32 gbrp .* make them alike"):
        copy(tmp_path / "in", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_video_becomes_images(tmp_path: Path) -> None:
    clip = Clip(rotation=90, codec="libx264").make(tmp_path / "in.mp4")
    copy(clip, tmp_path / "out_%02d.png")
    names = sorted(file.name for file in tmp_path.glob("out*"))
    assert names == [f"out_{number:02d}.png" for number in range(1, 11)]
    assert size(tmp_path / names[0]) == (48, 64)


def test_contents_of_a_video_lost_in_images_are_warned_of(tmp_path: Path) -> None:
    clip = Clip(audio="aac", subtitles=True, chapters=True, metadata={"title": "Regen"})
    source, target = clip.make(tmp_path / "in.mkv"), tmp_path / "out_%d.png"
    lost = "2 audio streams, 1 subtitle stream, chapters, tags and timestamps"
    assert copy(source, target)[0] == f"{target}: {lost} are not kept in images"


@pytest.mark.parametrize("name", ["out", "out/", "out.png"])
def test_video_without_a_pattern_as_target_is_refused(tmp_path: Path, name: str) -> None:
    info = open_reader(Clip().make(tmp_path / "in.mkv")).info
    with pytest.raises(OptionError, match=r"a pattern.* like frame_%05d\.png"):
        ImageWriter(f"{tmp_path}/{name}", info)


@pytest.mark.parametrize(("kind", "worst"), [("jpg", 4), ("webp", 4)])
def test_colours_of_hd_video_are_right_in_images(tmp_path: Path, kind: str, worst: int) -> None:
    bars = np.repeat(np.repeat(np.array([BARS], np.uint8), 96, 0), 32, 1)
    clip = tmp_path / "in.mkv"
    bt709(clip, bars)
    copy(clip, tmp_path / f"out_%d.{kind}", EncodeOptions(codec_options={}))
    with Image.open(tmp_path / f"out_1.{kind}") as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - bars)[:, 16::32].max() <= worst


def test_warning_is_given_once_for_all_images(tmp_path: Path) -> None:
    warnings = copy(Clip().make(tmp_path / "in.mkv"), tmp_path / "out_%d.png")
    assert warnings == [
        f"{tmp_path}/out_%d.png: timestamps are not kept in images",
        f"{tmp_path}/out_1.png: frames are converted from yuv420p to rgb24 for png",
    ]


def test_corrupt_image_among_others_is_left_out_and_warned_of(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (source / "frame_9.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    warnings = copy(source, tmp_path / "out")
    assert "frame_9.png: cannot be decoded" in warnings[0]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_corrupt_first_image_is_left_out(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (source / "frame_8.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    copy(source, tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["frame_10.png", "frame_9.png"]


def test_number_of_a_corrupt_image_is_left_out(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (source / "frame_9.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    copy(source, tmp_path / "out_%d.png")
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out_1.png", "out_3.png"]


def test_folder_of_corrupt_images_is_refused_naming_the_first(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    for file in source.iterdir():
        file.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(InputError, match=r"frame_8\.png: cannot be decoded"):
        open_reader(source)


@pytest.mark.parametrize("target", ["out", "out_%d.jpg"])
def test_ffmpeg_log_is_not_captured_while_images_are_written(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        open_reader(folder(tmp_path / "in")) as reader,
        open_writer(tmp_path / target, reader.info) as writer,
    ):
        monkeypatch.setattr(av.logging, "Capture", lambda: pytest.fail("captured"))
        for frame in reader.frames():
            writer.write(frame)


def test_wrong_options_are_refused_before_the_first_image(tmp_path: Path) -> None:
    options = EncodeOptions(codec_options={"pred": "none such"})
    info = open_reader(folder(tmp_path / "in")).info
    with pytest.raises(OptionError, match="pred"):
        open_writer(tmp_path / "out", info, options).__enter__()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["webp", "tif"])
def test_lost_exif_of_webp_and_tiff_is_warned_of(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "rain"
    Image.fromarray(draw_image(1)).save(tmp_path / f"in.{kind}", exif=exif)
    assert "EXIF" in copy(tmp_path / f"in.{kind}", tmp_path / f"out.{kind}")[0]


def test_span_of_images_counts_them_at_the_default_rate(tmp_path: Path) -> None:
    with open_reader(folder(tmp_path / "in", 9), SpanOptions(start_s=0.08, end_s=0.2)) as reader:
        names = [frame.name for frame in reader.frames()]
    assert names == ["frame_10.png", "frame_11.png", "frame_12.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.png", "no such file"),
        ("none_%03d.png", "matches no file"),
        ("*.jpg", "matches no file"),
        ("empty", "holds no images"),
        ("empty.png", "the file is empty"),
        ("text.png", "not an image that can be read"),
    ],
)
def test_missing_or_unreadable_image_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match=message):
        open_reader(tmp_path / name)


def test_folder_into_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"give a folder, or a pattern like frame_%05d\.png"):
        copy(folder(tmp_path / "in"), tmp_path / "out.png")


@pytest.mark.parametrize("name", ["existing", "existing/frame_%d.png", "existing/frame_8.png"])
def test_existing_images_are_overwritten_only_with_permission(tmp_path: Path, name: str) -> None:
    source = folder(tmp_path / "in", 1)
    folder(tmp_path / "existing", 1)
    with pytest.raises(OutputError, match="exists already"):
        copy(source / "frame_8.png", tmp_path / name)
    copy(source / "frame_8.png", tmp_path / name, EncodeOptions(overwrite=True))


@pytest.mark.parametrize("name", ["in", "in/frame_%d.png"])
def test_source_images_are_never_overwritten(tmp_path: Path, name: str) -> None:
    source = folder(tmp_path / "in", 5, first=2)
    before = [file.read_bytes() for file in sorted(source.iterdir())]
    with pytest.raises(OutputError):
        copy(source, tmp_path / name, EncodeOptions(overwrite=True))
    assert [file.read_bytes() for file in sorted(source.iterdir())] == before


def test_interrupted_run_leaves_no_image_and_no_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        _copy_one(source, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


def _copy_one(source: Path, target: Path) -> None:
    with open_reader(source) as reader, open_writer(target, reader.info) as writer:
        writer.write(next(reader.frames()))
        raise KeyboardInterrupt


@pytest.mark.parametrize("end_s", [0.01, 0.04])
def test_span_of_one_frame_becomes_one_image(tmp_path: Path, end_s: float) -> None:
    clip = Clip(pts=range(10)).make(tmp_path / "in.mkv")
    span = SpanOptions(end_s=end_s)
    with (
        open_reader(clip, span) as reader,
        open_writer(tmp_path / "out.png", reader.info, span=span) as writer,
    ):
        for frame in reader.frames():
            writer.write(frame)
    assert size(tmp_path / "out.png") == (64, 48)


def test_images_become_an_mp4_that_players_show(tmp_path: Path) -> None:
    warnings = copy(folder(tmp_path / "in", 3), tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.video[0].format.name == "yuv420p"
    assert "converted from gbrp to yuv420p for libx264, losing chroma resolution" in warnings[0]


def test_further_pictures_of_a_jpeg_are_named_as_left_out(tmp_path: Path) -> None:
    first, second = (Image.fromarray(draw_image(seed, 48, 64)) for seed in (1, 2))
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[second])
    (warning,) = copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert "further pictures, gain map or video in the file are left out" in warning
