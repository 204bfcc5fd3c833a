"""A data set in one file gives the same crops as its folders."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from lfdn.datasets import layouts
from lfdn.datasets.crops import CropDataset, CropStage
from lfdn.datasets.images import DataError, ImageSource, list_images
from lfdn.datasets.pack import PACK_FORMAT, PACK_INDEX, read_pack, read_packed_streaks, write_pack
from lfdn.datasets.samples import Sample
from lfdn_video.cli.doctor import make_clip
from tests.support import datasets


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    halves = layouts.read_side_by_side(datasets.make_rain800(tmp_path / "halves"))
    return halves + layouts.read_sequences(datasets.make_clean(tmp_path / "walk"))


@pytest.fixture
def pack(tmp_path: Path, samples: list[Sample]) -> Path:
    write_pack(samples, path := tmp_path / "data.zip")
    return path


def test_pack_gives_the_same_crops_as_its_folders(samples: list[Sample], pack: Path) -> None:
    direct, packed = (
        CropDataset(source, (CropStage(1, 16, 6),), steps=2, seed=3, paired_share=0.5, motion=True)
        for source in (samples, read_pack(pack))
    )
    for name in ("degraded", "clean", "paired", "flow"):
        assert torch.equal(getattr(direct[1], name), getattr(packed[1], name))


def test_pack_is_a_layout(pack: Path, samples: list[Sample]) -> None:
    names = [sample.name for sample in layouts.read_sets([f"pack={pack}"])]
    assert names == [sample.name for sample in samples]


def test_each_file_is_stored_once(pack: Path) -> None:
    with ZipFile(pack) as archive:
        assert len(archive.namelist()) == 3 + 3 + 1


def test_alternative_references_are_packed(tmp_path: Path, samples: list[Sample]) -> None:
    several = Sample("one", samples[0].clean, samples[0].degraded, alternatives=(samples[3].clean,))
    write_pack([several], path := tmp_path / "k.zip")
    (back,) = read_pack(path)
    assert np.array_equal(back.alternatives[0].read(), samples[3].clean.read())


def test_pack_can_be_packed_again(tmp_path: Path, pack: Path, samples: list[Sample]) -> None:
    write_pack(read_pack(pack), second := tmp_path / "second.zip")
    assert np.array_equal(read_pack(second)[-1].clean.read(), samples[-1].clean.read())


def test_streaks_are_packed_unchanged(tmp_path: Path, samples: list[Sample], pack: Path) -> None:
    folder = datasets.make_clean(tmp_path / "streaks", 2)
    layers = [ImageSource(path) for path in list_images(folder)]
    write_pack(samples, path := tmp_path / "s.zip", streaks=layers, quality=50)
    assert torch.equal(layouts.read_streak_bank(path), layouts.read_streak_bank(folder))
    with pytest.raises(DataError, match="holds no streak layers"):
        read_packed_streaks(pack)


def test_video_frames_are_packed_losslessly(tmp_path: Path) -> None:
    make_clip(clip := tmp_path / "clip.mkv")
    write_pack(frames := layouts.read_videos(clip), path := tmp_path / "v.zip")
    assert np.array_equal(read_pack(path)[0].clean.read(), frames[0].clean.read())


def test_max_side_shrinks_clean_images_and_leaves_pairs(
    tmp_path: Path, samples: list[Sample], pack: Path
) -> None:
    write_pack(samples, small := tmp_path / "small.zip", quality=60, max_side_px=32)
    assert small.stat().st_size < pack.stat().st_size
    back = read_pack(small)
    assert back[0].clean.read().shape == samples[0].clean.read().shape
    assert back[-1].clean.read().shape == (24, 32, 3)


def test_shrink_pairs_averages_blocks_of_pairs_and_leaves_clean_images(
    tmp_path: Path, samples: list[Sample]
) -> None:
    write_pack(samples, small := tmp_path / "small.zip", shrink_pairs=2)
    back = read_pack(small)
    for before, after in (
        (samples[0].clean, back[0].clean),
        (samples[0].degraded, back[0].degraded),
    ):
        assert before is not None
        assert after is not None
        whole = before.read().astype(float)
        height, width = (side // 2 for side in whole.shape[:2])
        blocks = whole[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))
        assert np.abs(after.read()[:height, :width] - blocks).max() <= 0.5
    assert np.array_equal(back[-1].clean.read(), samples[-1].clean.read())


def test_failed_pack_leaves_no_file(tmp_path: Path, samples: list[Sample]) -> None:
    samples[1].clean.path.unlink()
    with pytest.raises(DataError, match=r"1\.png: cannot be read"):
        write_pack(samples, tmp_path / "new" / "data.zip")
    assert list((tmp_path / "new").iterdir()) == []


def test_pack_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples to pack"):
        write_pack([], tmp_path / "data.zip")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (None, "not a pack"),
        ("{", "not a pack"),
        ("[]", "its index is not that of"),
        (json.dumps({"format": PACK_FORMAT}), "its index is corrupt"),
        (
            json.dumps(
                {
                    "format": PACK_FORMAT,
                    "samples": [{"name": "a", "clean": {"file": "/etc/passwd", "part": "all"}}],
                    "streaks": [],
                }
            ),
            "/etc/passwd is in its index alone",
        ),
    ],
)
def test_corrupt_pack_is_refused(tmp_path: Path, index: str | None, words: str) -> None:
    path = tmp_path / "data.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("other" if index is None else PACK_INDEX, index or "")
    with pytest.raises(DataError, match=words):
        read_pack(path)


def test_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "data.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"data\.zip: not a pack"):
        read_pack(path)
