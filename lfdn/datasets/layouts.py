"""Data sets in the layouts in which they are published: from a folder to a list of `Sample`.

`LAYOUTS` is the list of them; docs/data.md says what each set is and where it comes from. A layout
that comes in a training and a test half wants one of both named, so that none slips into the other.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from lfdn.datasets.data import (
    DataError,
    Part,
    Picture,
    Sample,
    pictures_in,
    streak_bank,
    video_frames,
)
from lfdn.datasets.pack import read_pack, read_streaks

DEGRADED = ("input", "rainy", "rain", "blur", "blurry", "degraded", "noisy", "lq")
CLEAN = ("target", "clean", "norain", "sharp", "gt", "GT", "hq")
HALVES = ("train", "training", "val", "test", "testing")
HIDE_PARTS = ("test-close-ups", "test-long-shot")
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m4v"})

NUMBER = re.compile(r"(\d+)(?:x\d+)?$")  # of a picture; "x2" behind it is the scale of the rain
KOHLER_BLURRY = re.compile(r"Blurry(\d+_\d+)$")
KOHLER_TRUTH = re.compile(r"GroundTruth(\d+_\d+)(?:_\d+)?$")


class UnknownLayoutError(DataError):
    """A data set was not named as LAYOUT=PATH with a layout that is known."""


def pair_folders(degraded: Path, clean: Path) -> list[Sample]:
    """Two folders whose files carry the same names or, if no name is in both, the same numbers."""
    pictures, originals = pictures_in(degraded), pictures_in(clean)
    same_names = {path.stem for path in pictures} & {path.stem for path in originals}
    return _match(pictures, originals, str(clean), key=_stem if same_names else _number)


def side_by_side(folder: Path) -> list[Sample]:
    """Two pictures side by side in each file, the clean one on the left (ID-CGAN's authors)."""
    return [
        Sample(path.stem, Picture(path, Part.LEFT), Picture(path, Part.RIGHT))
        for path in pictures_in(folder)
    ]


def rain800_test(folder: Path) -> list[Sample]:
    """Test100: Rain800's test half, side by side, or cut into `input/` and `target/`."""
    return pairs(folder) if _has(folder, DEGRADED) else side_by_side(folder)


def rain100(folder: Path) -> list[Sample]:
    """Rain100L/H and RainTrainL/H (Yang et al. 2017): two folders, or `rain-N`, `norain-N` in one.

    The rainy pictures of RainTrainH are called `norain-Nx2`.
    """
    if _has(folder, DEGRADED) or _has(folder, CLEAN):
        return pairs(folder)
    pictures = pictures_in(folder)
    clean = [path for path in pictures if re.match(r"norain-\d+$", path.stem)]
    rainy = [path for path in pictures if path not in clean]
    return _match(rainy, clean, str(folder), key=_number)


def rain14000(folder: Path) -> list[Sample]:
    """Rain14000, or Rain1400 (Fu et al. 2017): 14 rainy pictures `N_K` for each clean `N`."""
    clean = pictures_in(_folder(folder, "ground_truth"))
    rainy = pictures_in(_folder(folder, "rainy_image"))
    return _match(rainy, clean, f"{folder}/ground_truth", key=lambda path: path.stem.split("_")[0])


def gopro(folder: Path, *, blur: str = "blur") -> list[Sample]:
    """GoPro (Nah et al. 2017): sequences below `train/` or `test/`, which `folder` names."""
    return [
        Sample(f"{sequence.name}/{sample.name}", sample.clean, sample.degraded)
        for sequence in _folders(folder)
        for sample in pair_folders(_folder(sequence, blur), _folder(sequence, "sharp"))
    ]


def hide(folder: Path) -> list[Sample]:
    """HIDE (Shen et al. 2019): a half, or a part of its test half; the truth is in `GT/` above."""
    above = (folder.parent / "GT", folder.parent.parent / "GT")
    truth = next((path for path in above if path.is_dir()), None)
    if truth is None:
        raise DataError(f"{folder}: no folder GT/ beside it")
    parts = [folder / name for name in HIDE_PARTS if (folder / name).is_dir()] or [folder]
    pictures = [path for part in parts for path in pictures_in(part)]
    return _match(pictures, pictures_in(truth), str(truth), key=_stem)


def kohler(folder: Path) -> list[Sample]:
    """Köhler et al. 2012: each blurry picture with every frame of its trajectory as a reference."""
    truths: dict[str, list[Picture]] = {}
    blurry: dict[str, Path] = {}
    for path in pictures_in(folder, recursive=True):
        if found := KOHLER_BLURRY.match(path.stem):
            blurry[found[1]] = path
        elif found := KOHLER_TRUTH.match(path.parent.name) or KOHLER_TRUTH.match(path.stem):
            truths.setdefault(found[1], []).append(Picture(path))
    if not blurry:
        raise DataError(f"{folder}: no picture BlurryIMAGE_TRAJECTORY in it")
    samples = []
    for key, path in blurry.items():
        if key not in truths:
            raise DataError(f"{path}: no frames GroundTruth{key} to compare it with")
        first, *others = truths[key]
        samples.append(Sample(path.stem, first, Picture(path), alternatives=tuple(others)))
    return samples


def reds(folder: Path) -> list[Sample]:
    """REDS (Nah et al. 2019): `HALF_blur/` and `HALF_sharp/`, or clips of `blur/` and `sharp/`."""
    half = next((name for name in HALVES if (folder / f"{name}_sharp").is_dir()), None)
    if half is None:
        return gopro(folder)
    blur, sharp = _folder(folder, f"{half}_blur"), folder / f"{half}_sharp"
    return [
        Sample(f"{clip.name}/{sample.name}", sample.clean, sample.degraded)
        for clip in _folders(blur)
        for sample in pair_folders(clip, _folder(sharp, clip.name))
    ]


def pairs(folder: Path) -> list[Sample]:
    """Any two folders: below `folder` under a usual name, or named themselves, `DEGRADED,CLEAN`."""
    if not folder.is_dir() and "," in str(folder):
        degraded, _, clean = str(folder).partition(",")
        return pair_folders(Path(degraded), Path(clean))
    return pair_folders(_folder(folder, *DEGRADED), _folder(folder, *CLEAN))


def clean(folder: Path) -> list[Sample]:
    """Every picture below `folder`."""
    return [Sample(path.stem, Picture(path)) for path in pictures_in(folder, recursive=True)]


def sequences(folder: Path) -> list[Sample]:
    """Folders of consecutive sharp frames, or one such folder."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        Sample(f"{sequence.name}/{path.stem}", Picture(path), following=Picture(following))
        for sequence in inner or [folder]
        for path, following in pairwise(pictures_in(sequence))
    ]


def videos(path: Path) -> list[Sample]:
    """Every tenth frame of a video, or of every video in a folder, each with the frame after it."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
        if not files:
            raise DataError(f"{path}: no videos in it")
    return [sample for file in files for sample in video_frames(file, every=10)]


@dataclass(frozen=True, slots=True)
class Layout:
    """`tree`: what `read` expects below the path it is given."""

    read: Callable[[Path], list[Sample]]
    tree: str


LAYOUTS = {
    "rain800": Layout(side_by_side, "files with the clean half on the left"),
    "test100": Layout(rain800_test, "files with the clean half on the left, or input/ and target/"),
    "rain100": Layout(rain100, "rainy/ and clean/, or rain-N and norain-N in one folder"),
    "rain14000": Layout(rain14000, "rainy_image/N_K and ground_truth/N"),
    "gopro": Layout(gopro, "SEQUENCE/blur/ and SEQUENCE/sharp/"),
    "gopro_gamma": Layout(partial(gopro, blur="blur_gamma"), "SEQUENCE/blur_gamma/ and .../sharp/"),
    "hide": Layout(hide, "train/ or test/ beside GT/"),
    "kohler": Layout(kohler, "BlurryI_T and GroundTruthI_T/ with its frames"),
    "reds": Layout(reds, "HALF_blur/CLIP/ and HALF_sharp/CLIP/, or CLIP/blur/ and CLIP/sharp/"),
    "pairs": Layout(pairs, "input/ and target/ or the like, or two folders as DEGRADED,CLEAN"),
    "clean": Layout(clean, "pictures, to be degraded"),
    "sequences": Layout(sequences, "SEQUENCE/ with consecutive frames, to be degraded"),
    "videos": Layout(videos, "sharp videos, or one, to be degraded"),
    "pack": Layout(read_pack, "a file written by lfdn pack"),
}


def read_sets(sets: Sequence[str]) -> list[Sample]:
    """The samples of every `LAYOUT=PATH`, in order.

    Raises UnknownLayoutError for a layout that is not in `LAYOUTS`, DataError for a folder that is
    not what its layout promises.
    """
    samples: list[Sample] = []
    for text in sets:
        name, _, path = text.partition("=")
        if name not in LAYOUTS or not path:
            known = ", ".join(LAYOUTS)
            raise UnknownLayoutError(f"{text!r} is not LAYOUT=PATH with one of {known}")
        try:
            samples += LAYOUTS[name].read(Path(path))
        except DataError as error:
            raise DataError(f"{error}; {name} wants {LAYOUTS[name].tree}") from error
    return samples


def streaks(path: Path) -> Tensor:
    """The streak layers of a folder or of a pack, `[K, h, w]` uint8 (see `streak_bank`)."""
    if path.is_file():
        return streak_bank(read_streaks(path))
    return streak_bank([Picture(file) for file in pictures_in(path)])


def _match(
    pictures: Sequence[Path], originals: Sequence[Path], where: str, *, key: Callable[[Path], str]
) -> list[Sample]:
    """Each picture with the original of the same `key`."""
    clean: dict[str, Path] = {}
    for path in originals:
        if (other := clean.setdefault(key(path), path)) is not path:
            raise DataError(f"{path}: has the same number as {other.name}; pairs would be a guess")
    for path in pictures:
        if key(path) not in clean:
            raise DataError(f"{path}: no picture of this name or number in {where}")
    return [Sample(path.stem, Picture(clean[key(path)]), Picture(path)) for path in pictures]


def _stem(path: Path) -> str:
    return path.stem


def _number(path: Path) -> str:
    found = NUMBER.search(path.stem)
    return str(int(found[1])) if found else path.stem


def _has(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_dir() for name in names)


def _folder(parent: Path, *names: str) -> Path:
    """The first of `names` that `parent` holds."""
    if not parent.is_dir():
        raise DataError(f"{parent}: no such folder")
    for name in names:
        if (parent / name).is_dir():
            return parent / name
    if _has(parent, HALVES):
        raise DataError(f"{parent}: holds a training and a test half; name one of them")
    wanted = " or ".join(f"{name}/" for name in names)
    raise DataError(f"{parent}: no folder {wanted} in it")


def _folders(parent: Path) -> list[Path]:
    """All folders in `parent`."""
    found = sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
    if not found:
        raise DataError(f"{parent}: no folder with sequences in it")
    if any(path.name in HALVES for path in found):
        raise DataError(f"{parent}: holds a training and a test half; name one of them")
    return found
