"""A data set in one compact file, for a machine with little room.

A ZIP, its members stored as they are: `index.json` names the samples and the streak layers, the
rest are picture files. They are read from the ZIP directly, never unpacked.
"""

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from PIL import Image

from lfdn.datasets.data import DataError, Part, Picture, Sample

FORMAT = "lfdn pack 1"
INDEX = "index.json"


def write_pack(
    samples: Sequence[Sample],
    target: Path,
    *,
    streaks: Sequence[Picture] = (),
    quality: int | None = None,
    max_side_px: int | None = None,
) -> None:
    """Write `samples` and `streaks` as one file, under another name until it is complete.

    `quality`: encode every picture but the streaks anew as WebP, 1 to 100; the files as they are
    unless told. `max_side_px`: shrink clean pictures without a degraded side to this. Frames of
    videos become WebP in any case, without loss unless `quality` is given.
    """
    if not samples:
        raise DataError(f"{target}: no samples to pack; name a data set")
    partial = target.with_name(target.name + ".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ZipFile(partial, "w", ZIP_STORED) as archive:
            writer = _Writer(archive, quality)
            index = {
                "format": FORMAT,
                "samples": [_entry(sample, writer, max_side_px) for sample in samples],
                "streaks": [writer.add(layer, as_it_is=True) for layer in streaks],
            }
            archive.writestr(INDEX, json.dumps(index, indent=1))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_pack(path: Path) -> list[Sample]:
    """The samples of a file that `write_pack` wrote."""
    return [
        Sample(
            entry["name"],
            _picture(path, entry["clean"]),
            _picture(path, entry["degraded"]) if "degraded" in entry else None,
            _picture(path, entry["following"]) if "following" in entry else None,
            tuple(_picture(path, other) for other in entry.get("alternatives", ())),
        )
        for entry in _index(path)["samples"]
    ]


def read_streaks(path: Path) -> list[Picture]:
    """The streak layers of a file that `write_pack` wrote."""
    layers = [_picture(path, entry) for entry in _index(path)["streaks"]]
    if not layers:
        raise DataError(f"{path}: holds no streak layers; pack it again with --streaks")
    return layers


class _Writer:
    """Adds each picture file once."""

    def __init__(self, archive: ZipFile, quality: int | None) -> None:
        self._archive, self._quality = archive, quality
        self._names: dict[tuple[Path | None, Path, int | None], str] = {}

    def add(
        self, picture: Picture, *, as_it_is: bool = False, max_side_px: int | None = None
    ) -> dict[str, str]:
        key = (picture.archive, picture.path, picture.frame)
        if key not in self._names:
            changed = self._quality is not None or max_side_px is not None
            if picture.frame is None and (as_it_is or not changed):
                suffix, data = picture.path.suffix.lower(), picture.encoded()
            else:
                suffix, data = ".webp", self._encode(picture, max_side_px)
            self._names[key] = f"{len(self._names):06d}{suffix}"
            self._archive.writestr(self._names[key], data)
        return {"file": self._names[key], "part": picture.part}

    def _encode(self, picture: Picture, max_side_px: int | None) -> bytes:
        whole = Picture(picture.path, frame=picture.frame, archive=picture.archive)
        image = Image.fromarray(whole.read())
        if max_side_px is not None:
            image.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
        lossless = self._quality is None
        image.save(file := BytesIO(), "WEBP", lossless=lossless, quality=self._quality or 75)
        return file.getvalue()


def _entry(sample: Sample, writer: _Writer, max_side_px: int | None) -> dict[str, Any]:
    paired = sample.degraded is not None
    side = None if paired else max_side_px
    entry: dict[str, Any] = {"name": sample.name}
    entry["clean"] = writer.add(sample.clean, max_side_px=side)
    if sample.degraded is not None:
        entry["degraded"] = writer.add(sample.degraded)
    if sample.following is not None:
        entry["following"] = writer.add(sample.following, max_side_px=side)
    if sample.alternatives:
        entry["alternatives"] = [writer.add(other) for other in sample.alternatives]
    return entry


def _picture(archive: Path, entry: dict[str, str]) -> Picture:
    return Picture(Path(entry["file"]), part=Part(entry["part"]), archive=archive)


def _index(path: Path) -> dict[str, Any]:
    """The index of a pack, its shape checked."""
    try:
        with ZipFile(path) as archive:
            index = json.loads(archive.read(INDEX))
            members = set(archive.namelist())
    except (OSError, KeyError, BadZipFile, ValueError) as error:
        raise DataError(f"{path}: not a pack ({error})") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise DataError(f"{path}: its index is not that of {FORMAT!r}; pack it again")
    try:
        missing = {entry["file"] for entry in _entries(index) if entry["file"] not in members}
        for entry in _entries(index):
            Part(entry["part"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: its index is damaged; pack it again") from error
    if missing:
        raise DataError(f"{path}: {min(missing)} is in its index alone; pack it again")
    return index


def _entries(index: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Every picture in an index."""
    for sample in index["samples"]:
        yield from (sample[key] for key in ("clean", "degraded", "following") if key in sample)
        yield from sample.get("alternatives", ())
    yield from index["streaks"]
