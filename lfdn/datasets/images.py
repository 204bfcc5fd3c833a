"""One image of a data set: its location, reading it, writing it. Knows no samples."""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

Pixels = npt.NDArray[np.uint8]
"""An image, RGB, `[H, W, 3]`."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


class DataError(ValueError):
    """A data set's folder, or a file in it, is not what its layout requires."""


class ImagePart(StrEnum):
    """A part of an image file. Some data sets put two images side by side into one file."""

    ALL = "all"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The location of one image: a file, the left or right half of one, or a frame of a video."""

    path: Path
    part: ImagePart = ImagePart.ALL
    frame: int | None = None
    """Index of the frame in the video `path`, from 0."""
    archive: Path | None = None
    """The ZIP file in which `path` is a member."""

    def read(self) -> Pixels:
        """Decode the image.

        Returns:
            RGB, uint8, `[H, W, 3]`, upright by its EXIF.

        Raises:
            DataError: There is no such image, or it cannot be decoded.
        """
        if self.frame is not None:
            return _read_video_frame(self.path, self.frame)
        try:
            with Image.open(BytesIO(self.read_bytes())) as image:
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self}: not a readable image ({error})") from error
        middle = pixels.shape[1] // 2
        if self.part is ImagePart.LEFT:
            return np.ascontiguousarray(pixels[:, :middle])
        if self.part is ImagePart.RIGHT:
            return np.ascontiguousarray(pixels[:, middle : 2 * middle])
        return pixels

    def read_bytes(self) -> bytes:
        """Read the whole encoded file, even if `part` is one half of it.

        Raises:
            DataError: The file, or the member of the archive, cannot be read.
        """
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


def list_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """List the image files in `folder`, sorted by name.

    Args:
        folder: The folder to look in.
        recursive: Include the folders below it.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = folder.rglob("*") if recursive else folder.iterdir()
    images = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f"{folder}: no images in it")
    return images


def count_video_frames(path: Path) -> int:
    """Return a video's number of frames, as its container states it; 0 if it cannot be opened.

    Raises:
        DataError: There is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return count


def to_tensor(pixels: Pixels) -> Tensor:
    """Convert `[H, W, 3]` uint8 to `[1, 3, H, W]` float32 in 0…1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def write_image(image: Tensor, path: Path) -> None:
    """Write an image as an 8-bit file; create its folder if there is none.

    Args:
        image: `[1, 3, H, W]`, RGB; clamped to 0…1 and rounded.
        path: The file; its suffix chooses the format.
    """
    pixels = (image[0].clamp(0, 1) * 255).round().permute(1, 2, 0).to(torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.contiguous().numpy()).save(path)


def _read_video_frame(path: Path, index: int) -> Pixels:
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, index)
    readable, frame = video.read()
    video.release()
    if not readable:
        raise DataError(f"{path}: frame {index} cannot be decoded")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8)
