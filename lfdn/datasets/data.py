"""Picture files to training crops and test pairs. Knows folders, not networks.

A data set is a list of `Sample` (`lfdn.datasets.layouts` reads the published ones). Crops are a
pure function of (seed, step): any step can be drawn again, on any machine, without drawing those
before it, which is what makes resuming exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lfdn.degrade import optical_flow

Pixels = npt.NDArray[np.uint8]
"""A picture, RGB, `[H, W, 3]`."""
Flow = npt.NDArray[np.float16]
"""Motion to the next frame in px, `[H, W, 2]`, x then y."""

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
VALIDATION_EVERY = 20
"""Every 20th sample of a training set is kept for validation."""
SMALLEST_SIDE_PX = 380
"""Larger clean pictures are shrunk by a random factor, down to this, so that scales vary."""
TRIES = 4
"""How often a crop is drawn until one shows enough detail; the last is taken as it is."""


class DataError(ValueError):
    """A data folder, or a file in it, is not what its layout promises."""


class Part(StrEnum):
    """What of a picture file is meant, where two pictures are side by side in it."""

    ALL = "all"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file, or the left or right half of one, or a frame of a video."""

    path: Path
    part: Part = Part.ALL
    frame: int | None = None
    """Which frame of the video `path`, from 0."""
    archive: Path | None = None
    """The ZIP file in which `path` is a member."""

    def read(self) -> Pixels:
        """RGB, 8 bit. Raises DataError where there is no such picture."""
        if self.frame is not None:
            return _read_frame(self.path, self.frame)
        try:
            with Image.open(BytesIO(self.encoded())) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self}: not a readable picture ({error})") from error
        middle = pixels.shape[1] // 2
        if self.part is Part.LEFT:
            return np.ascontiguousarray(pixels[:, :middle])
        if self.part is Part.RIGHT:
            return np.ascontiguousarray(pixels[:, middle : 2 * middle])
        return pixels

    def encoded(self) -> bytes:
        """The bytes of the file. Raises DataError where there are none."""
        try:
            if self.archive is None:
                return self.path.read_bytes()
            with ZipFile(self.archive) as archive:
                return archive.read(self.path.as_posix())
        except (OSError, KeyError, BadZipFile) as error:
            raise DataError(f"{self}: cannot be read ({error})") from error

    def __str__(self) -> str:
        place = self.path if self.archive is None else f"{self.archive}: {self.path}"
        return f"{place}" if self.frame is None else f"{place}, frame {self.frame}"


@dataclass(frozen=True, slots=True)
class Sample:
    """A clean picture and, where the data set has one, its degraded counterpart."""

    name: str
    clean: Picture
    degraded: Picture | None = None
    following: Picture | None = None
    """The next frame, where the clean picture is one of a sequence."""
    alternatives: tuple[Picture, ...] = ()
    """Further clean pictures, any of which may be the right one; not for training."""


def split(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """(training, validation): every `VALIDATION_EVERY`th sample is for validation."""
    training = [s for i, s in enumerate(samples) if i % VALIDATION_EVERY]
    return training, list(samples[::VALIDATION_EVERY])


def streak_bank(layers: Sequence[Picture]) -> Tensor:
    """Grey streak layers as one uint8 tensor `[K, h, w]`, cut to the smallest."""
    pixels = [layer.read()[..., 0] for layer in layers]
    height = min(layer.shape[0] for layer in pixels)
    width = min(layer.shape[1] for layer in pixels)
    return torch.from_numpy(np.stack([layer[:height, :width] for layer in pixels]))


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training, up to `until` (a fraction of all steps), on crops of one size."""

    until: float
    patch_px: int
    batch: int


@dataclass(frozen=True, slots=True)
class CropBatch:
    """`degraded` and `clean`: uint8 `[B, 3, P, P]`. Where `paired` `[B]` is false, `degraded`
    equals `clean` and is to be degraded here. `flow`: px to the next frame, `[B, 2, P, P]`,
    zero where unknown."""

    degraded: Tensor
    clean: Tensor
    paired: Tensor
    flow: Tensor

    def pin_memory(self) -> "CropBatch":
        """The same in page-locked memory, which `DataLoader` asks for."""
        parts = (self.degraded, self.clean, self.flow)
        degraded, clean, flow = (part.pin_memory() for part in parts)
        return CropBatch(degraded, clean, self.paired, flow)


class Crops(Dataset[CropBatch]):
    """The batch of every step: item `step` is a `CropBatch`. All pictures are kept in memory."""

    def __init__(
        self,
        samples: Sequence[Sample],
        stages: Sequence[Stage],
        *,
        steps: int,
        seed: int,
        paired_share: float,
        smallest_side_px: int = SMALLEST_SIDE_PX,
        least_detail: float = 0.0,
        motion: bool = False,
    ) -> None:
        """`paired_share`: the share of each batch that comes from samples with a degraded side.

        `smallest_side_px`: larger clean pictures are shrunk by a random factor, down to this.
        `least_detail`: by how many codes of 255 neighbours should differ on average in a crop that
        is degraded here; an empty sky teaches nothing.
        `motion`: estimate the flow to the following frame, where a sample has one.
        """
        if several := next((s for s in samples if s.alternatives), None):
            raise DataError(f"{several.name}: has several references; that is for evaluation alone")
        self._pairs = [_load(s, motion=False) for s in samples if s.degraded is not None]
        self._clean = [_load(s, motion=motion) for s in samples if s.degraded is None]
        if not (self._pairs or self._clean):
            raise DataError("no pictures to train on; name a data set")
        self._stages, self._steps, self._seed = tuple(stages), steps, seed
        self._smallest_side_px, self._least_detail = smallest_side_px, least_detail
        self._paired_share = 1.0 if not self._clean else paired_share if self._pairs else 0.0

    def __len__(self) -> int:
        return self._steps

    def stage(self, step: int) -> Stage:
        done = step / self._steps
        return next((stage for stage in self._stages if done < stage.until), self._stages[-1])

    def __getitem__(self, step: int) -> CropBatch:
        rng = np.random.default_rng((self._seed, step))
        stage = self.stage(step)
        wanted = stage.batch * self._paired_share
        pairs = int(wanted) + (rng.random() < wanted % 1)
        crops = [self._draw(rng, stage.patch_px, paired=i < pairs) for i in range(stage.batch)]
        return CropBatch(
            degraded=_batch(
                [crop.clean if crop.degraded is None else crop.degraded for crop in crops]
            ),
            clean=_batch([crop.clean for crop in crops]),
            paired=torch.arange(stage.batch) < pairs,
            flow=_flow_batch(crops, stage.patch_px),
        )

    def _draw(self, rng: np.random.Generator, patch_px: int, *, paired: bool) -> "_Loaded":
        pool = self._pairs if paired else self._clean
        for _ in range(TRIES):
            crop = _crop(pool[int(rng.integers(len(pool)))], patch_px, self._smallest_side_px, rng)
            if paired or _detail(crop.clean) >= self._least_detail:
                break
        return crop


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files in `folder`, by name; DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = folder.rglob("*") if recursive else folder.iterdir()
    pictures = sorted(path for path in found if path.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise DataError(f"{folder}: no pictures in it")
    return pictures


def video_frames(path: Path, *, every: int) -> list[Sample]:
    """Each `every`th frame of a video that has another behind it, named STEM/INDEX."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if count < 2:
        raise DataError(f"{path}: not a readable video of two frames or more")
    return [
        Sample(f"{path.stem}/{i:06d}", Picture(path, frame=i), following=Picture(path, frame=i + 1))
        for i in range(0, count - 1, every)
    ]


def exclude(samples: Sequence[Sample], patterns: Sequence[str]) -> list[Sample]:
    """`samples` but those whose name matches one of the shell patterns, such as `dog/*`."""
    for pattern in patterns:
        if not any(fnmatch(sample.name, pattern) for sample in samples):
            raise DataError(f"--exclude: {pattern!r} matches no sample; check the pattern")
    return [s for s in samples if not any(fnmatch(s.name, pattern) for pattern in patterns)]


def to_tensor(pixels: Pixels) -> Tensor:
    """`[H, W, 3]` uint8 to `[1, 3, H, W]` float32 in 0…1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def write_picture(picture: Tensor, path: Path) -> None:
    """`[1, 3, H, W]` in 0…1 as an 8-bit file, in a folder that is made if need be."""
    pixels = (picture[0].clamp(0, 1) * 255).round().permute(1, 2, 0).to(torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.contiguous().numpy()).save(path)


def _read_frame(path: Path, index: int) -> Pixels:
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, index)
    readable, frame = video.read()
    video.release()
    if not readable:
        raise DataError(f"{path}: frame {index} cannot be decoded")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The pixels of a sample, or of a crop of it."""

    clean: Pixels
    degraded: Pixels | None
    flow: Flow | None


def _load(sample: Sample, *, motion: bool) -> _Loaded:
    clean = sample.clean.read()
    flow = None
    if motion and sample.following is not None:
        flow = optical_flow(clean, sample.following.read()).astype(np.float16)
    if sample.degraded is None:
        return _Loaded(clean, None, flow)
    degraded = sample.degraded.read()
    if degraded.shape != clean.shape:
        raise DataError(
            f"{sample.degraded}: {degraded.shape[1]}x{degraded.shape[0]} px, its pair has "
            f"{clean.shape[1]}x{clean.shape[0]}; pairs must be of one size"
        )
    return _Loaded(clean, degraded, None)


def _crop(
    sample: _Loaded, patch_px: int, smallest_side_px: int, rng: np.random.Generator
) -> _Loaded:
    """The same random square of all, mirrored; without a pair also shrunk where there is room."""
    height, width = sample.clean.shape[:2]
    room = min(height, width) / max(smallest_side_px, patch_px)
    factor = float(rng.uniform(1, room)) if room > 1 and sample.degraded is None else 1.0
    side = min(round(patch_px * factor), height, width)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    mirror = rng.random() < 0.5
    window = np.s_[top : top + side, left : left + side]

    def cut(pixels: Pixels) -> Pixels:
        square = pixels[window]
        if side != patch_px:
            resized = Image.fromarray(square).resize((patch_px, patch_px), Image.Resampling.BICUBIC)
            square = np.asarray(resized)
        return square[:, ::-1] if mirror else square

    return _Loaded(
        cut(sample.clean),
        None if sample.degraded is None else cut(sample.degraded),
        None if sample.flow is None else _cut_flow(sample.flow[window], patch_px, mirror=mirror),
    )


def _detail(pixels: Pixels) -> float:
    """By how many codes neighbours differ on average, in green."""
    green = pixels[..., 1].astype(np.int16)
    return float(np.mean([np.abs(np.diff(green, axis=axis)).mean() for axis in (0, 1)]))


def _cut_flow(square: Flow, patch_px: int, *, mirror: bool) -> Flow:
    """Flow at the crop's size: shrunk in both senses, its x turned round where mirrored."""
    side = square.shape[0]
    nearest = np.minimum(((np.arange(patch_px) + 0.5) * side / patch_px).astype(int), side - 1)
    flow: Flow = square[nearest][:, nearest] * np.float16(patch_px / side)
    return flow[:, ::-1] * np.array([-1, 1], np.float16) if mirror else flow


def _batch(crops: Sequence[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def _flow_batch(crops: Sequence[_Loaded], patch_px: int) -> Tensor:
    still = np.zeros((patch_px, patch_px, 2), np.float16)
    flows = np.stack([still if crop.flow is None else crop.flow for crop in crops])
    return torch.from_numpy(flows).permute(0, 3, 1, 2).float()
