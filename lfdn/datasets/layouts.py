"""Published data sets, from the folders in which they are distributed to a list of `Sample`.

`LAYOUTS` lists them; docs/data.md describes each set and its source. Of a set with a training and a
test half one must be named, so that test images never get into training.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lfdn.datasets.images import DataError, ImagePart, ImageSource, count_video_frames, list_images
from lfdn.datasets.pack import read_pack, read_packed_streaks
from lfdn.datasets.samples import Sample

DEGRADED = ("input", "rainy", "rain", "blur", "blurry", "degraded", "noisy", "lq")
CLEAN = ("target", "clean", "norain", "sharp", "gt", "GT", "hq")
HALVES = ("train", "training", "val", "test", "testing")
HIDE_PARTS = ("test-close-ups", "test-long-shot")
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m4v"})
VIDEO_STEP_FRAMES = 10  # frames in between are so similar that they add little to training

NUMBER = re.compile(r"(\d+)(?:x\d+)?$")  # of an image; "x2" after it is the scale of the rain
KOHLER_BLURRY = re.compile(r"Blurry(\d+_\d+)$")
KOHLER_REFERENCE = re.compile(r"GroundTruth(\d+_\d+)(?:_\d+)?$")


class UnknownLayoutError(DataError):
    """A data set is not named as LAYOUT=PATH, or the layout is unknown."""


def pair_folders(degraded: Path, clean: Path) -> list[Sample]:
    """Pair the files of two folders by name or, if they share no name, by number.

    Args:
        degraded: Folder of degraded images.
        clean: Folder of their clean counterparts.

    Returns:
        A sample for each degraded image, sorted by name.

    Raises:
        DataError: A folder is missing or has no images, or an image has no counterpart.
    """
    images = list_images(degraded)
    originals = list_images(clean)
    same_names = {path.stem for path in images} & {path.stem for path in originals}
    key = _get_stem if same_names else _get_number
    return _pair_by_key(images, originals, str(clean), key=key)


def read_side_by_side(folder: Path) -> list[Sample]:
    """Read Rain800 (by ID-CGAN's authors): two images side by side, the clean one on the left."""
    return [
        Sample(path.stem, ImageSource(path, ImagePart.LEFT), ImageSource(path, ImagePart.RIGHT))
        for path in list_images(folder)
    ]


def read_rain800_test(folder: Path) -> list[Sample]:
    """Read Test100: Rain800's test half, side by side or split into `input/` and `target/`."""
    return read_pairs(folder) if _has_folder(folder, DEGRADED) else read_side_by_side(folder)


def read_rain100(folder: Path) -> list[Sample]:
    """Read Rain100L/H or RainTrainL/H (Yang et al. 2017): two folders, or one with all images.

    In one folder they are called `rain-N` and `norain-N`.
    The rainy images of RainTrainH are called `norain-Nx2`.
    """
    if _has_folder(folder, DEGRADED) or _has_folder(folder, CLEAN):
        return read_pairs(folder)
    images = list_images(folder)
    clean = [path for path in images if re.match(r"norain-\d+$", path.stem)]
    rainy = [path for path in images if path not in clean]
    return _pair_by_key(rainy, clean, str(folder), key=_get_number)


def read_rain14000(folder: Path) -> list[Sample]:
    """Read Rain14000 or Rain1400 (Fu et al. 2017): 14 rainy images `N_K` for each clean `N`."""
    clean = list_images(_find_folder(folder, "ground_truth"))
    rainy = list_images(_find_folder(folder, "rainy_image"))
    return _pair_by_key(
        rainy, clean, f"{folder}/ground_truth", key=lambda path: path.stem.split("_")[0]
    )


def read_gopro(folder: Path, *, blur: str = "blur") -> list[Sample]:
    """Read GoPro (Nah et al. 2017): the sequences in `folder`, its `train/` or `test/`."""
    return [
        _put_into_sequence(sample, sequence.name)
        for sequence in _list_folders(folder)
        for sample in pair_folders(_find_folder(sequence, blur), _find_folder(sequence, "sharp"))
    ]


def read_hide(folder: Path) -> list[Sample]:
    """Read HIDE (Shen et al. 2019): a half, or a part of the test half. `GT/` is above both."""
    above = (folder.parent / "GT", folder.parent.parent / "GT")
    sharp = next((path for path in above if path.is_dir()), None)
    if sharp is None:
        raise DataError(f"{folder}: no folder GT/ beside it")
    parts = [folder / name for name in HIDE_PARTS if (folder / name).is_dir()] or [folder]
    blurry = [path for part in parts for path in list_images(part)]
    return _pair_by_key(blurry, list_images(sharp), str(sharp), key=_get_stem)


def read_kohler(folder: Path) -> list[Sample]:
    """Read Köhler et al. 2012: each blurry image; every frame of its trajectory is a reference."""
    references: dict[str, list[ImageSource]] = {}
    blurry: dict[str, Path] = {}
    for path in list_images(folder, recursive=True):
        if found := KOHLER_BLURRY.match(path.stem):
            blurry[found[1]] = path
        elif found := KOHLER_REFERENCE.match(path.parent.name) or KOHLER_REFERENCE.match(path.stem):
            references.setdefault(found[1], []).append(ImageSource(path))
    if not blurry:
        raise DataError(f"{folder}: no image BlurryIMAGE_TRAJECTORY in it")
    samples = []
    for key, path in blurry.items():
        if key not in references:
            raise DataError(f"{path}: no frames GroundTruth{key} to compare it with")
        first, *others = references[key]
        samples.append(Sample(path.stem, first, ImageSource(path), alternatives=tuple(others)))
    return samples


def read_reds(folder: Path) -> list[Sample]:
    """Read REDS (Nah et al. 2019): `HALF_{blur,sharp}/`, or `blur/` and `sharp/` in each clip."""
    half = next((name for name in HALVES if (folder / f"{name}_sharp").is_dir()), None)
    if half is None:
        return read_gopro(folder)
    return _pair_sequences(_find_folder(folder, f"{half}_blur"), folder / f"{half}_sharp")


def read_pairs(folder: Path) -> list[Sample]:
    """Read any two folders: subfolders of `folder` with usual names, or `DEGRADED,CLEAN`.

    Both may hold a folder for each sequence instead of images, and `folder` may hold sequences with
    such subfolders each.
    """
    if not folder.is_dir() and "," in str(folder):
        degraded, _, clean = str(folder).partition(",")
        return _pair_folders_or_sequences(Path(degraded), Path(clean))
    if not _has_folder(folder, DEGRADED) and _holds_pairs_below(folder):
        return [
            _put_into_sequence(sample, sequence.name)
            for sequence in _list_folders(folder)
            for sample in pair_folders(
                _find_folder(sequence, *DEGRADED), _find_folder(sequence, *CLEAN)
            )
        ]
    return _pair_folders_or_sequences(_find_folder(folder, *DEGRADED), _find_folder(folder, *CLEAN))


def read_clean(folder: Path) -> list[Sample]:
    """Read every image below `folder`, without counterparts."""
    return [Sample(path.stem, ImageSource(path)) for path in list_images(folder, recursive=True)]


def read_sequences(folder: Path) -> list[Sample]:
    """Read one or several folders of consecutive sharp frames; each frame with the next one."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        Sample(f"{sequence.name}/{path.stem}", ImageSource(path), following=ImageSource(following))
        for sequence in inner or [folder]
        for path, following in pairwise(list_images(sequence))
    ]


def read_videos(path: Path) -> list[Sample]:
    """Read every tenth frame of a video, or of all videos in a folder, each with the next one."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
        if not files:
            raise DataError(f"{path}: no videos in it")
    return [sample for file in files for sample in _read_video(file)]


def _read_video(path: Path) -> list[Sample]:
    count = count_video_frames(path)
    if count < 2:
        raise DataError(f"{path}: not a readable video of two frames or more")
    return [
        Sample(
            f"{path.stem}/{index:06d}",
            ImageSource(path, frame=index),
            following=ImageSource(path, frame=index + 1),
        )
        for index in range(0, count - 1, VIDEO_STEP_FRAMES)
    ]


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """The reader of a layout, and the files it expects below its path."""

    read: Callable[[Path], list[Sample]]
    expected: str


LAYOUTS = {
    "rain800": DatasetLayout(read_side_by_side, "files with the clean half on the left"),
    "test100": DatasetLayout(
        read_rain800_test, "files with the clean half on the left, or input/ and target/"
    ),
    "rain100": DatasetLayout(
        read_rain100, "rainy/ and clean/, or rain-N and norain-N in one folder"
    ),
    "rain14000": DatasetLayout(read_rain14000, "rainy_image/N_K and ground_truth/N"),
    "gopro": DatasetLayout(read_gopro, "SEQUENCE/blur/ and SEQUENCE/sharp/"),
    "gopro_gamma": DatasetLayout(
        partial(read_gopro, blur="blur_gamma"), "SEQUENCE/blur_gamma/ and .../sharp/"
    ),
    "hide": DatasetLayout(read_hide, "train/ or test/ beside GT/"),
    "kohler": DatasetLayout(read_kohler, "BlurryI_T and GroundTruthI_T/ with its frames"),
    "reds": DatasetLayout(
        read_reds, "HALF_blur/CLIP/ and HALF_sharp/CLIP/, or CLIP/blur/ and CLIP/sharp/"
    ),
    "pairs": DatasetLayout(
        read_pairs,
        "input/ and target/ or the like, or two folders as DEGRADED,CLEAN; "
        "SEQUENCE/ may be above or below them",
    ),
    "clean": DatasetLayout(read_clean, "images, to be degraded"),
    "sequences": DatasetLayout(read_sequences, "SEQUENCE/ with consecutive frames, to be degraded"),
    "videos": DatasetLayout(read_videos, "sharp videos, or one, to be degraded"),
    "pack": DatasetLayout(read_pack, "a file written by lfdn pack"),
}


def read_sets(sets: Sequence[str]) -> list[Sample]:
    """Read data sets, each named as `LAYOUT=PATH`.

    Returns:
        The samples of all sets, in the order given. Images are not read yet.

    Raises:
        UnknownLayoutError: A layout is not in `LAYOUTS`.
        DataError: A folder is not what its layout requires.
    """
    samples: list[Sample] = []
    for text in sets:
        name, _, path = text.partition("=")
        if name not in LAYOUTS or not path:
            known = ", ".join(LAYOUTS)
            raise UnknownLayoutError(f"{text!r} is not LAYOUT=PATH with one of {known}")
        try:
            found = LAYOUTS[name].read(Path(path))
        except DataError as error:
            raise DataError(f"{error}; {name} wants {LAYOUTS[name].expected}") from error
        samples += [replace(sample, dataset=text) for sample in found]
    return samples


def read_streak_bank(path: Path) -> Tensor:
    """Read the streak layers of a folder or of a pack.

    Args:
        path: A folder of images, or a file that `lfdn pack --streaks` wrote.

    Returns:
        uint8 `[K, h, w]`, white streaks on black, all cropped to the size of the smallest.

    Raises:
        DataError: There is no layer, or one cannot be read.
    """
    if path.is_file():
        sources = read_packed_streaks(path)
    else:
        sources = [ImageSource(file) for file in list_images(path)]
    layers = [source.read()[..., 0] for source in sources]
    height = min(layer.shape[0] for layer in layers)
    width = min(layer.shape[1] for layer in layers)
    return torch.from_numpy(np.stack([layer[:height, :width] for layer in layers]))


def _pair_by_key(
    images: Sequence[Path], originals: Sequence[Path], where: str, *, key: Callable[[Path], str]
) -> list[Sample]:
    """Pair each image with the original of the same `key`."""
    clean: dict[str, Path] = {}
    for path in originals:
        if (other := clean.setdefault(key(path), path)) is not path:
            raise DataError(f"{path}: has the same number as {other.name}; pairs would be a guess")
    for path in images:
        if key(path) not in clean:
            raise DataError(f"{path}: no image of this name or number in {where}")
    return [Sample(path.stem, ImageSource(clean[key(path)]), ImageSource(path)) for path in images]


def _pair_folders_or_sequences(degraded: Path, clean: Path) -> list[Sample]:
    """Pair the images of two folders, or those of each folder in them if they hold no images."""
    only_folders = degraded.is_dir() and all(path.is_dir() for path in degraded.iterdir())
    if only_folders and any(degraded.iterdir()):
        return _pair_sequences(degraded, clean)
    return pair_folders(degraded, clean)


def _pair_sequences(degraded: Path, clean: Path) -> list[Sample]:
    """Pair `degraded/SEQUENCE/` with `clean/SEQUENCE/`, for each sequence."""
    return [
        _put_into_sequence(sample, sequence.name)
        for sequence in _list_folders(degraded)
        for sample in pair_folders(sequence, _find_folder(clean, sequence.name))
    ]


def _put_into_sequence(sample: Sample, sequence: str) -> Sample:
    return replace(sample, name=f"{sequence}/{sample.name}")


def _holds_pairs_below(folder: Path) -> bool:
    """Tell whether a folder holds folders with pairs, and no training or test half."""
    if not folder.is_dir() or _has_folder(folder, HALVES):
        return False
    return any(path.is_dir() and _has_folder(path, DEGRADED) for path in folder.iterdir())


def _get_stem(path: Path) -> str:
    return path.stem


def _get_number(path: Path) -> str:
    found = NUMBER.search(path.stem)
    return str(int(found[1])) if found else path.stem


def _has_folder(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_dir() for name in names)


def _find_folder(parent: Path, *names: str) -> Path:
    """Return the first of `names` that is a folder in `parent`."""
    if not parent.is_dir():
        raise DataError(f"{parent}: no such folder")
    for name in names:
        if (parent / name).is_dir():
            return parent / name
    if _has_folder(parent, HALVES):
        raise DataError(f"{parent}: holds a training and a test half; name one of them")
    wanted = " or ".join(f"{name}/" for name in names)
    raise DataError(f"{parent}: no folder {wanted} in it")


def _list_folders(parent: Path) -> list[Path]:
    found = sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
    if not found:
        raise DataError(f"{parent}: no folder with sequences in it")
    if any(path.name in HALVES for path in found):
        raise DataError(f"{parent}: holds a training and a test half; name one of them")
    return found
