"""A data set in one compact file, for a machine with little disk space.

The file is a ZIP without compression: `index.json` lists the samples and the streak layers; all
other members are image files, which are read from the ZIP without unpacking it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from PIL import Image

from lfdn.datasets.images import DataError, ImagePart, ImageSource
from lfdn.datasets.samples import Sample
from lfdn.files import write_beside

PACK_FORMAT = "lfdn pack 1"
PACK_INDEX = "index.json"


def write_pack(
    samples: Sequence[Sample],
    target: Path,
    *,
    streaks: Sequence[ImageSource] = (),
    quality: int | None = None,
    max_side_px: int | None = None,
    shrink_pairs: int = 1,
    overwrite: bool = True,
) -> None:
    """Write samples and streak layers to a temporary file, and rename it to `target`.

    Frames of videos always become WebP, lossless unless `quality` is given.

    Args:
        samples: At least one.
        target: The file to write.
        streaks: Streak layers, which are stored as they are.
        quality: Encode all images but the streaks as WebP of this quality, 1 to 100. By default
            the files are stored as they are.
        max_side_px: Longest side of clean images without a degraded counterpart; larger ones are
            shrunk.
        shrink_pairs: Factor by which images with a degraded counterpart, and this one, are shrunk;
            their rain or blur shrinks with them.
        overwrite: Replace a file that exists.

    Raises:
        DataError: There are no samples, or an image cannot be read. `target` is then unchanged.
        TargetError: The file cannot be written, or exists.
    """
    if not samples:
        raise DataError(f"{target}: no samples to pack; name a data set")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        write_beside(target, overwrite=overwrite) as temporary,
        ZipFile(temporary, "w", ZIP_STORED) as archive,
    ):
        writer = _PackWriter(archive, quality)
        index = {
            "format": PACK_FORMAT,
            "samples": [
                _add_sample(sample, writer, max_side_px, shrink_pairs) for sample in samples
            ],
            "streaks": [writer.add_image(layer, verbatim=True) for layer in streaks],
        }
        archive.writestr(PACK_INDEX, json.dumps(index, indent=1))


def read_pack(path: Path) -> list[Sample]:
    """Read the samples of a file that `write_pack` wrote.

    Raises:
        DataError: The file is not a pack, or its index is corrupt.
    """
    return [
        Sample(
            entry["name"],
            _locate_member(path, entry["clean"]),
            _locate_member(path, entry["degraded"]) if "degraded" in entry else None,
            _locate_member(path, entry["following"]) if "following" in entry else None,
            tuple(_locate_member(path, other) for other in entry.get("alternatives", ())),
        )
        for entry in _read_pack_index(path)["samples"]
    ]


def read_packed_streaks(path: Path) -> list[ImageSource]:
    """List the streak layers of a file that `write_pack` wrote.

    Raises:
        DataError: The file is not a pack, or holds no streak layers.
    """
    layers = [_locate_member(path, entry) for entry in _read_pack_index(path)["streaks"]]
    if not layers:
        raise DataError(f"{path}: holds no streak layers; pack it again with --streaks")
    return layers


class _PackWriter:
    """Adds each image file once, even if several samples use it."""

    def __init__(self, archive: ZipFile, quality: int | None) -> None:
        self._archive = archive
        self._quality = quality
        self._names: dict[tuple[Path | None, Path, int | None], str] = {}

    def add_image(
        self,
        source: ImageSource,
        *,
        verbatim: bool = False,
        max_side_px: int | None = None,
        shrink: int = 1,
    ) -> dict[str, str]:
        key = (source.archive, source.path, source.frame)
        if key not in self._names:
            changed = self._quality is not None or max_side_px is not None or shrink > 1
            if source.frame is None and (verbatim or not changed):
                suffix = source.path.suffix.lower()
                data = source.read_bytes()
            else:
                suffix = ".webp"
                data = self._encode(source, max_side_px, shrink)
            self._names[key] = f"{len(self._names):06d}{suffix}"
            self._archive.writestr(self._names[key], data)
        return {"file": self._names[key], "part": source.part}

    def _encode(self, source: ImageSource, max_side_px: int | None, shrink: int) -> bytes:
        whole = ImageSource(source.path, frame=source.frame, archive=source.archive)
        image = Image.fromarray(whole.read())
        if shrink > 1:
            image = image.reduce(shrink)
        if max_side_px is not None:
            image.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
        lossless = self._quality is None
        image.save(file := BytesIO(), "WEBP", lossless=lossless, quality=self._quality or 75)
        return file.getvalue()


def _add_sample(
    sample: Sample, writer: _PackWriter, max_side_px: int | None, shrink_pairs: int
) -> dict[str, Any]:
    """Store the images of a sample; return its entry in the index."""
    is_pair = sample.degraded is not None
    # A pair's rain or blur shrinks with it, so that has an option of its own.
    add = partial(
        writer.add_image,
        max_side_px=None if is_pair else max_side_px,
        shrink=shrink_pairs if is_pair else 1,
    )
    entry: dict[str, Any] = {"name": sample.name}
    entry["clean"] = add(sample.clean)
    if sample.degraded is not None:
        entry["degraded"] = add(sample.degraded)
    if sample.following is not None:
        entry["following"] = add(sample.following)
    if sample.alternatives:
        entry["alternatives"] = [add(other) for other in sample.alternatives]
    return entry


def _locate_member(archive: Path, entry: dict[str, str]) -> ImageSource:
    return ImageSource(Path(entry["file"]), part=ImagePart(entry["part"]), archive=archive)


def _read_pack_index(path: Path) -> dict[str, Any]:
    """Read the index of a pack and check its structure."""
    try:
        with ZipFile(path) as archive:
            index = json.loads(archive.read(PACK_INDEX))
            members = set(archive.namelist())
    except (OSError, KeyError, BadZipFile, ValueError) as error:
        raise DataError(f"{path}: not a pack ({error})") from error
    if not isinstance(index, dict) or index.get("format") != PACK_FORMAT:
        raise DataError(f"{path}: its index is not that of {PACK_FORMAT!r}; pack it again")
    try:
        missing = {entry["file"] for entry in _list_members(index) if entry["file"] not in members}
        for entry in _list_members(index):
            ImagePart(entry["part"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: its index is corrupt; pack it again") from error
    if missing:
        raise DataError(f"{path}: {min(missing)} is in its index alone; pack it again")
    return index


def _list_members(index: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield every image of an index."""
    for sample in index["samples"]:
        yield from (sample[key] for key in ("clean", "degraded", "following") if key in sample)
        yield from sample.get("alternatives", ())
    yield from index["streaks"]
