"""Neighbours seen from a frame: their samples at its own places, in its own exposure.

    neighbour's planes ─ path ─▶ roughly, everywhere: where is there something to decide?
                              └▶ sharply, at some places: what do they show there?

Knows no rain: `evidence.py` gathers what neighbours show, `rule.py` decides what that means.
"""

from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import cv2
import numpy as np

from lfdn_video.media import Family, Frame, FrameFormat, Plane
from lfdn_video.temporal.flow import Floats, Path, fetch, resize_mask, scale_flow, warp

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

Indices: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]

SMALLEST_GAIN_CHANGE = 0.002
"""A neighbour's exposure counts as the same within this; half a code at white."""

BLACK_OFFSET = 2.5
"""In 8-bit codes, added before two exposures are divided, so that noise near black matters less."""

GAIN_STEP_PX = 4
"""Exposures are compared on every fourth row and column: plenty for a median."""


class Places:
    """Some samples of a plane.

    Args:
        rows: where they are.
        columns: likewise.
        shape: of the plane.
    """

    def __init__(self, rows: Indices, columns: Indices, shape: tuple[int, int]) -> None:
        self.rows = rows
        self.columns = columns
        self.shape = shape
        self.flat: Indices = rows * shape[1] + columns
        """Their indices in the plane."""
        self._scaled: dict[tuple[int, int], Places] = {}

    @classmethod
    def where(cls, mask: Plane) -> Self:
        """Those where a mask is set, row by row."""
        # Of truth values NumPy finds those that are set in a third of the time.
        rows, columns = np.divmod(np.flatnonzero(mask != 0), mask.shape[1])
        return cls(rows, columns, (mask.shape[0], mask.shape[1]))

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> "Places":
        """Return some of them."""
        return Places(self.rows[chosen], self.columns[chosen], self.shape)

    def scale(self, shape: tuple[int, int]) -> "Places":
        """Return the samples of a plane of another size that cover them; some more than once."""
        if shape == self.shape:
            return self
        if shape not in self._scaled:
            rows = self.rows * shape[0] // self.shape[0]
            columns = self.columns * shape[1] // self.shape[1]
            self._scaled[shape] = Places(rows, columns, shape)
        return self._scaled[shape]

    def take(self, plane: Plane) -> Floats:
        """Return a plane's samples there."""
        own = self.scale((plane.shape[0], plane.shape[1]))
        samples: Floats = plane.ravel().take(own.flat).astype(np.float32)
        return samples


class Levels:
    """What the samples of one stream mean.

    Args:
        info: how its frames are stored.
    """

    def __init__(self, info: FrameFormat) -> None:
        pixel_format = info.format
        (self._kr, self._kb), full_range = info.colour.resolved(
            info.height, pixel_format, width=info.width
        )
        step = 1 << (pixel_format.depth - 8)
        self.family: Family = pixel_format.family
        self.depth = pixel_format.depth
        self.peak = pixel_format.peak
        self.components = 1 if self.family == "gray" else 3
        """Planes that are not alpha."""
        scale = self.peak if full_range else 219 * step
        chroma_scale = self.peak if full_range else 224 * step
        self.unit = scale / 255
        """Samples' codes for one 8-bit code of full range."""
        self.black = 0 if full_range else 16 * step
        self._neutral = 128 * step
        self._chroma_to_luma = scale / chroma_scale

    def luma_of(self, planes: Sequence[Plane]) -> Plane:
        """Return the luma of a frame, in its own depth; that of RGB is computed."""
        if self.family != "rgb":
            return planes[0]
        green, blue, red = planes[:3]
        mixed = cv.addWeighted(green, 1 - self._kr - self._kb, blue, self._kb, 0, dtype=cv.CV_32F)
        luma: Plane = cv.addWeighted(mixed, 1, red.astype(np.float32), self._kr, 0, dtype=cv.CV_32F)
        return np.rint(luma).astype(green.dtype)

    def colour_of(self, differences: Sequence[Floats]) -> Floats:
        """Return how much a difference is one of colour, and not of light.

        Args:
            differences: of the planes without alpha, `[n]` each.

        Returns:
            `[2, n]`: blueness and redness, in 8-bit codes; 0 for grey.
        """
        if self.family == "gray":
            return np.zeros((2, len(differences[0])), np.float32)
        if self.family == "yuv":
            chroma = np.stack(differences[1:]) * np.float32(self._chroma_to_luma / self.unit)
            return chroma
        green, blue, red = differences
        luma = (1 - self._kr - self._kb) * green + self._kb * blue + self._kr * red
        blueness = (blue - luma) / (2 * (1 - self._kb))
        redness = (red - luma) / (2 * (1 - self._kr))
        return np.stack([blueness, redness]).astype(np.float32) / np.float32(self.unit)

    def zero_of(self, index: int) -> int:
        """The code of a plane that exposure does not change: black, or no colour."""
        return self._neutral if self.family == "yuv" and index > 0 else self.black


class Aligned:
    """A neighbour, seen from the frame.

    Args:
        frame: the neighbour, as the network made it.
        luma: its luma, as `Levels.luma_of` gives it.
        decoded: its luma before the network.
        path: from the frame to the neighbour.
        reference: the frame's own luma, for the exposure.
        levels: what the samples mean.
        after: whether it follows the frame.
    """

    def __init__(
        self,
        frame: Frame,
        luma: Plane,
        decoded: Plane,
        path: Path,
        *,
        reference: Plane,
        levels: Levels,
        after: bool,
    ) -> None:
        self.after = after
        """Whether it follows the frame."""
        self._frame = frame
        self._luma = luma
        self._decoded = decoded
        self._levels = levels
        self._flow = scale_flow(path.flow, luma.shape)
        self._asked: dict[Places, Floats] = {}
        self.valid = resize_mask(path.valid, luma.shape)
        """Where the neighbour counts: 255, else 0."""
        self.share_valid: float = cv.countNonZero(path.valid) / path.valid.size
        """Of the frame's samples, those that the neighbour shows."""
        rough = warp(luma, self._flow)
        self._gain = _find_gain(reference, rough, self.valid, levels)
        if abs(self._gain - 1) <= SMALLEST_GAIN_CHANGE:
            self._gain = 1.0
        self.luma = self._expose_plane(rough)
        """Everywhere, a little blurred."""

    def fetch_luma(self, places: Places) -> Floats:
        """Return the luma at places of the frame, sharp."""
        return self._fetch(self._luma, places, self._levels.black, cubic=True)

    def fetch_decoded(self, places: Places) -> Floats:
        """Return the luma before the network at places of the frame."""
        return self._fetch(self._decoded, places, self._levels.black, cubic=False)

    def fetch(self, index: int, places: Places) -> Floats:
        """Return the samples of a plane at places of the frame's luma."""
        levels = self._levels
        zero, cubic = levels.zero_of(index), levels.family == "rgb"
        return self._fetch(self._frame.planes[index], places, zero, cubic=cubic)

    def speed_at(self, places: Places) -> Floats:
        """Return how far it is to the neighbour, in px of the frame."""
        columns, rows = self._flow_at(places)
        speed: Floats = np.hypot(columns, rows)
        return speed

    def _flow_at(self, places: Places) -> Floats:
        """Return columns and rows to the neighbour, `[2, places]`; the planes of a frame ask."""
        if places not in self._asked:
            flow = self._flow.reshape(-1, 2).take(places.flat, axis=0)
            self._asked[places] = np.ascontiguousarray(flow.T)
        return self._asked[places]

    def _fetch(self, plane: Plane, places: Places, zero: int, *, cubic: bool) -> Floats:
        columns, rows = self._flow_at(places)
        height, width = plane.shape
        own = places.scale((height, width))
        rows = own.rows + rows * np.float32(height / places.shape[0])
        columns = own.columns + columns * np.float32(width / places.shape[1])
        samples = fetch(plane, rows, columns, cubic=cubic)
        if self._gain == 1:
            return samples
        exposed = samples * np.float32(self._gain) + np.float32(self._offset(zero))
        return exposed.clip(0, self._levels.peak)

    def _offset(self, zero: int) -> float:
        offset = zero * (1 - self._gain)
        if zero == self._levels.black:
            offset += BLACK_OFFSET * self._levels.unit * (self._gain - 1)
        return offset

    def _expose_plane(self, plane: Plane) -> Plane:
        if self._gain == 1:
            return plane
        offset = self._offset(self._levels.black)
        exposed = cv.addWeighted(plane, self._gain, plane, 0, offset)
        limited: Plane = cv.min(exposed, self._levels.peak)
        return limited


def _find_gain(reference: Plane, aligned: Plane, valid: Plane, levels: Levels) -> float:
    """Divide exposures: the median over what is valid; 1 if nothing is."""
    every = np.s_[::GAIN_STEP_PX, ::GAIN_STEP_PX]
    counts = valid[every] > 0
    if not counts.any():
        return 1.0
    offset = np.float32(BLACK_OFFSET * levels.unit - levels.black)
    wanted = np.maximum(reference[every][counts] + offset, levels.unit)
    found = np.maximum(aligned[every][counts] + offset, levels.unit)
    return float(np.median(wanted / found))
