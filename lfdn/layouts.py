"""Data sets in the layouts in which they are published: from a folder to a list of `Sample`."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from lfdn.data import DataError, Picture, Sample, pictures_in

Layout = Callable[[Path], list[Sample]]


def clean_folder(folder: Path) -> list[Sample]:
    """Every picture below `folder`, to be degraded synthetically."""
    return [Sample(path.stem, Picture(path)) for path in pictures_in(folder, recursive=True)]


def rain800(folder: Path) -> list[Sample]:
    """Rain800 (ID-CGAN): two pictures side by side in each file, the clean one on the left."""
    return [
        Sample(path.stem, Picture(path, "left"), Picture(path, "right"))
        for path in pictures_in(folder)
    ]


def rain100(folder: Path) -> list[Sample]:
    """Rain100L and Rain100H: `rainy/` and `clean/` (or `norain/`) with the same numbers."""
    clean = next((folder / name for name in ("clean", "norain") if (folder / name).is_dir()), None)
    if clean is None:
        raise DataError(f"{folder}: no folder clean/ or norain/; expected the Rain100 layout")
    return pair_folders(folder / "rainy", clean)


def gopro(folder: Path) -> list[Sample]:
    """GoPro: `<sequence>/{blur,sharp}/*.png` below `train/` or `test/`, which `folder` names."""
    sequences = (
        sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )
    if not sequences:
        raise DataError(f"{folder}: no sequences; name the train or test folder of GoPro")
    return [
        Sample(f"{sequence.name}/{sample.name}", sample.clean, sample.degraded)
        for sequence in sequences
        for sample in pair_folders(sequence / "blur", sequence / "sharp")
    ]


def sequences(folder: Path) -> list[Sample]:
    """Folders of consecutive sharp frames, to be degraded with their own motion."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not folders:
        raise DataError(f"{folder}: no sequences in it; name the folder above them")
    return [
        Sample(f"{sequence.name}/{path.stem}", Picture(path), following=Picture(following))
        for sequence in folders
        for path, following in pairwise(pictures_in(sequence))
    ]


def pair_folders(degraded: Path, clean: Path) -> list[Sample]:
    """Two folders whose files carry the same names, or the same number in them."""
    originals = _by_key(clean)
    samples = []
    for path in pictures_in(degraded):
        original = originals.get(_key(path))
        if original is None:
            raise DataError(f"{path}: no picture of this name in {clean}; every one needs its pair")
        samples.append(Sample(path.stem, Picture(original), Picture(path)))
    return samples


LAYOUTS: dict[str, Layout] = {
    "clean": clean_folder,
    "gopro": gopro,
    "rain100": rain100,
    "rain800": rain800,
    "sequences": sequences,
}


def read_sets(sets: Sequence[str]) -> list[Sample]:
    """The samples of every `LAYOUT=FOLDER`, in order. Raises DataError for an unknown layout."""
    samples: list[Sample] = []
    for text in sets:
        layout, _, folder = text.partition("=")
        if layout not in LAYOUTS or not folder:
            known = ", ".join(sorted(LAYOUTS))
            raise DataError(f"--data: {text!r} is not LAYOUT=FOLDER with one of {known}")
        samples += LAYOUTS[layout](Path(folder))
    return samples


def _by_key(folder: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for path in pictures_in(folder):
        if (other := pictures.setdefault(_key(path), path)) is not path:
            raise DataError(f"{path}: has the same number as {other.name}; pairs would be a guess")
    return pictures


def _key(path: Path) -> str:
    """What a pair has in common: the digits of the name, or the name where it has none."""
    digits = "".join(c for c in path.stem if c.isdigit())
    return digits or path.stem
