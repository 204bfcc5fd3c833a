"""Every published layout, from a tiny folder; and the errors for incomplete ones."""

from pathlib import Path

import numpy as np
import pytest

from lfdn.datasets import layouts
from lfdn.datasets.images import DataError
from lfdn.datasets.layouts import LAYOUTS, UnknownLayoutError, read_sets
from lfdn_video.cli.doctor import make_clip
from tests.support import datasets

FILES = {
    "test100": ["input/1.jpg", "target/1.jpg", "input/2.jpg", "target/2.jpg"],
    "rain100": ["rainy/rain-001.png", "clean/norain-001.png"],
    "rain14000": [
        "rainy_image/1_1.jpg",
        "rainy_image/1_14.jpg",
        "rainy_image/2_3.jpg",
        "ground_truth/1.jpg",
        "ground_truth/2.jpg",
    ],
    "gopro": ["GOPR1_11/blur/001.png", "GOPR1_11/sharp/001.png"],
    "gopro_gamma": ["GOPR1_11/blur_gamma/001.png", "GOPR1_11/sharp/001.png"],
    "hide": ["train/2fromGOPR0976.png", "GT/2fromGOPR0976.png", "GT/7fromGOPR0976.png"],
    "kohler": [
        "BlurryImages/Blurry1_2.png",
        "GroundTruth/GroundTruth1_2/GroundTruth1_2_1.png",
        "GroundTruth/GroundTruth1_2/GroundTruth1_2_2.png",
    ],
    "reds": ["train_blur/000/00000001.png", "train_sharp/000/00000001.png"],
    "pairs": ["lq/a.png", "gt/a.png"],
    "clean": ["a.png", "below/b.webp"],
    "sequences": ["walk/1.jpg", "walk/2.jpg", "walk/3.jpg"],
}
"""The published file names, a few of each."""

NAMES = {
    "test100": ["1", "2"],
    "rain100": ["rain-001"],
    "rain14000": ["1_1", "1_14", "2_3"],
    "gopro": ["GOPR1_11/001"],
    "gopro_gamma": ["GOPR1_11/001"],
    "hide": ["2fromGOPR0976"],
    "kohler": ["Blurry1_2"],
    "reds": ["000/00000001"],
    "pairs": ["a"],
    "clean": ["a", "b"],
    "sequences": ["walk/1", "walk/2"],
}

BELOW = {"hide": "train"}
"""The folder to pass as PATH, if it is not the root."""


def build(root: Path, files: list[str]) -> Path:
    for index, file in enumerate(files):
        datasets.write_image(root / file, datasets.draw_image(index))
    return root


def read(layout: str, path: Path) -> list[str]:
    return [sample.name for sample in read_sets([f"{layout}={path}"])]


@pytest.mark.parametrize("layout", FILES)
def test_layout_is_read(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path, FILES[layout])
    assert read(layout, root / BELOW.get(layout, "")) == NAMES[layout]


@pytest.mark.parametrize("layout", [*FILES, "rain800", "videos", "pack"])
def test_missing_path_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match=f"absent: .*; {layout} wants ") as caught:
        read(layout, tmp_path / "absent")
    assert str(caught.value).endswith(LAYOUTS[layout].expected)


@pytest.mark.parametrize("layout", [*FILES, "rain800", "videos", "pack"])
def test_empty_folder_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match=f"{tmp_path.name}: "):
        read(layout, tmp_path)


@pytest.mark.parametrize(
    ("layout", "gone", "words"),
    [
        ("test100", "target/2.jpg", r"input/2\.jpg: no image of this name or number in"),
        ("rain100", "clean/norain-001.png", r"clean: no images in it"),
        ("rain14000", "ground_truth/2.jpg", r"2_3\.jpg: no image of this name or number"),
        ("gopro", "GOPR1_11/sharp/001.png", r"GOPR1_11/sharp: no images in it"),
        ("hide", "GT/2fromGOPR0976.png", r"2fromGOPR0976\.png: no image of this name"),
        ("kohler", "BlurryImages/Blurry1_2.png", r"no image BlurryIMAGE_TRAJECTORY"),
        ("reds", "train_sharp/000/00000001.png", r"000: no images in it"),
        ("pairs", "gt/a.png", r"gt: no images in it"),
    ],
)
def test_missing_half_of_a_pair_is_named(
    tmp_path: Path, layout: str, gone: str, words: str
) -> None:
    root = build(tmp_path, FILES[layout])
    (root / gone).unlink()
    with pytest.raises(DataError, match=words):
        read(layout, root / BELOW.get(layout, ""))


def test_clean_half_of_side_by_side_files_is_the_left_one(tmp_path: Path) -> None:
    (sample, *_) = read_sets([f"rain800={datasets.make_rain800(tmp_path)}"])
    assert sample.degraded is not None
    assert np.array_equal(sample.clean.read(), datasets.draw_image(0))
    assert np.array_equal(sample.degraded.read(), datasets.draw_image(0) // 2 + 100)


def test_test100_may_be_side_by_side(tmp_path: Path) -> None:
    assert read("test100", datasets.make_rain800(tmp_path)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        ("rain-1.png", "norain-1.png"),
        ("rain/norain-1x2.png", "norain/norain-1.png"),
        ("rain/rain-001.png", "norain/norain-1.png"),
        ("norain-1x2.png", "norain-1.png"),
    ],
)
def test_rain100_is_read_in_all_published_forms(tmp_path: Path, rainy: str, clean: str) -> None:
    (sample,) = layouts.read_rain100(build(tmp_path, [rainy, clean]))
    assert sample.degraded is not None
    assert (sample.degraded.path, sample.clean.path) == (tmp_path / rainy, tmp_path / clean)


def test_rain100_pairs_images_by_number(tmp_path: Path) -> None:
    files = [f"{side}-{n}.png" for n in (1, 10, 100) for side in ("rain", "norain")]
    for sample in layouts.read_rain100(build(tmp_path, files)):
        assert sample.clean.path.name == f"no{sample.name}.png"


def test_two_images_of_one_number_are_refused(tmp_path: Path) -> None:
    build(tmp_path, ["rainy/rain-1.png", "clean/norain-1.png", "clean/other-1.png"])
    with pytest.raises(DataError, match=r"other-1\.png: has the same number as norain-1"):
        layouts.read_rain100(tmp_path)


@pytest.mark.parametrize("layout", ["gopro", "reds", "rain14000"])
def test_training_and_test_half_together_are_refused(tmp_path: Path, layout: str) -> None:
    build(tmp_path, [f"{half}/{file}" for half in ("train", "test") for file in FILES[layout]])
    with pytest.raises(DataError, match="holds a training and a test half; name one of them"):
        read(layout, tmp_path)
    assert read(layout, tmp_path / "test") == NAMES[layout]


def test_gopro_sequence_without_sharp_frames_is_named(tmp_path: Path) -> None:
    build(tmp_path, ["A/blur/1.png", "A/sharp/1.png", "B/blur/1.png"])
    with pytest.raises(DataError, match=r"B: no folder sharp/ in it; gopro wants SEQUENCE/blur/"):
        read("gopro", tmp_path)


def test_hide_finds_sharp_images_two_folders_up(tmp_path: Path) -> None:
    build(
        tmp_path, ["test/test-close-ups/1.png", "test/test-long-shot/2.png", "GT/1.png", "GT/2.png"]
    )
    assert read("hide", tmp_path / "test") == ["1", "2"]
    assert read("hide", tmp_path / "test" / "test-long-shot") == ["2"]


def test_kohler_has_every_frame_of_the_trajectory_as_reference(tmp_path: Path) -> None:
    flat = ["Blurry1_1.png", "GroundTruth1_1_1.png", "GroundTruth1_1_2.png", "GroundTruth1_1_3.png"]
    (sample,) = layouts.read_kohler(build(tmp_path, flat))
    references = [sample.clean, *sample.alternatives]
    assert [image.path.name for image in references] == flat[1:]


def test_kohler_without_reference_frames_is_refused(tmp_path: Path) -> None:
    build(tmp_path, ["Blurry1_1.png", "Blurry1_2.png", "GroundTruth1_1_1.png"])
    with pytest.raises(DataError, match=r"Blurry1_2\.png: no frames GroundTruth1_2 to compare"):
        layouts.read_kohler(tmp_path)


def test_reds_is_read_from_folders_of_clips(tmp_path: Path) -> None:
    root = build(tmp_path, ["clip_000/blur/1.png", "clip_000/sharp/1.png"])
    assert read("reds", root) == ["clip_000/1"]


def test_any_two_folders_can_be_named_as_pairs(tmp_path: Path) -> None:
    root = build(tmp_path, ["wet/a.png", "dry/a.png"])
    assert read("pairs", Path(f"{root}/wet,{root}/dry")) == ["a"]


def test_sequence_samples_have_the_following_frame(tmp_path: Path) -> None:
    first, second = layouts.read_sequences(build(tmp_path, FILES["sequences"]))
    assert first.following == second.clean


def test_one_folder_of_frames_is_a_sequence(tmp_path: Path) -> None:
    root = build(tmp_path, FILES["sequences"])
    assert read("sequences", root / "walk") == ["walk/1", "walk/2"]


def test_videos_give_every_tenth_frame_and_the_next(tmp_path: Path) -> None:
    make_clip(clip := tmp_path / "clip.mkv")
    samples = layouts.read_videos(tmp_path)
    assert samples == layouts.read_videos(clip)
    assert samples[0].name == "clip/000000"
    assert samples[0].following is not None
    frame, following = samples[0].clean.read(), samples[0].following.read()
    assert frame.ndim == 3
    assert frame.shape == following.shape
    assert not np.array_equal(frame, following)


def test_unreadable_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"clip\.mp4: not a readable video"):
        layouts.read_videos(tmp_path)


@pytest.mark.parametrize("text", ["kitti=/nowhere", "rain100", "rain100=", "/nowhere"])
def test_unknown_layout_is_refused(text: str) -> None:
    with pytest.raises(UnknownLayoutError, match="is not LAYOUT=PATH with one of rain800"):
        read_sets([text])


def test_streak_bank_is_one_tensor(tmp_path: Path) -> None:
    assert layouts.read_streak_bank(datasets.make_clean(tmp_path, 2)).shape == (2, 48, 64)
