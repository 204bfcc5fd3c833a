"""Motion between two frames: dense optical flow, and where it can be trusted.

DIS (Kroeger et al., ECCV 2016) runs on 8-bit luma, for large frames at half size; of very large
ones one vector for 2x2 px of that is kept, which makes all that follows cheaper. It runs both ways:
where going there and coming back does not end where it began, something is hidden, or the flow is
wrong, and the neighbour does not count. A flow over several frames is joined from those between
them. Knows planes, and nothing of rain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np

from lfdn_video.media import Plane

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

Field: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.float32]]
"""Flow or positions, `[h, w, 2]`: x and y in px of its own size."""

Mask: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
"""`[h, w]`: 255 where something holds, else 0."""

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

FETCH_ROW = 1024
"""OpenCV takes maps of up to 32767 px a side, so positions are put in rows."""

HALF_FROM_PX = 600
"""Frames whose shorter side is at least this are halved for the flow, for the sake of time. Fewer
vectors than one for 2x2 px cost .14 dB on rain."""

COARSE_FROM_PX = 800
"""From this on, DIS ends at an eighth of the frame's size instead of a quarter, which costs a
quarter of the time. On the light rain of smaller frames that is worth 1.5 dB."""

SMALLEST_SIDE_PX = 16
"""DIS refuses images that are smaller."""

GRID_PX = 2
GRID_FROM_PX = 600
"""Images whose shorter side is at least this keep one vector for 2x2 px."""

MAX_ROUND_TRIP_PX = 1.0
"""How far from its start, in px of the frame, a trip there and back may end."""


def to_flow_image(luma: Plane, depth: int) -> Plane:
    """Reduce a luma plane to what the flow is computed on.

    Args:
        luma: `[H, W]`, of any depth.
        depth: its significant bits.

    Returns:
        uint8 `[h, w]`, at half size unless the frame is small (`is_small`).
    """
    image: Any = luma if depth == 8 else (luma >> (depth - 8)).astype(np.uint8)
    height, width = luma.shape
    if not is_small(luma):
        size = (-(-width // 2), -(-height // 2))
        image = cv.resize(image, size, interpolation=cv.INTER_AREA)
    return np.ascontiguousarray(image)


def is_small(luma: Plane) -> bool:
    """Tell whether there is time for flows of a frame at its own size."""
    return min(luma.shape) < HALF_FROM_PX


def is_large_enough(image: Plane) -> bool:
    """Tell whether a flow can be computed on an image of this size."""
    return min(image.shape) >= SMALLEST_SIDE_PX


class FlowEstimator:
    """Computes flows. Holds buffers for one size at a time, so each thread needs its own."""

    def __init__(self) -> None:
        self._dis = cv.DISOpticalFlow.create(cv.DISOPTICAL_FLOW_PRESET_FAST)
        self._finest = self._dis.getFinestScale()

    def estimate(self, image: Plane, neighbour: Plane, frame_side_px: int) -> Field:
        """Find, for each px of `image`, where it is in `neighbour`: `neighbour[p + flow(p)]`.

        Args:
            image: uint8 `[h, w]`, as `to_flow_image` makes it.
            neighbour: another one of the same size.
            frame_side_px: the shorter side of the frame that `image` was made of.

        Returns:
            The flow, for large images on a grid of `GRID_PX`.
        """
        # A half image ends one scale sooner to end at the same size.
        halved = HALF_FROM_PX <= frame_side_px < COARSE_FROM_PX
        self._dis.setFinestScale(self._finest - halved)
        flow: Field = self._dis.calc(image, neighbour, None)
        height, width = image.shape
        if min(height, width) < GRID_FROM_PX:
            return flow
        return scale_flow(flow, (-(-height // GRID_PX), -(-width // GRID_PX)))


@dataclass(frozen=True, slots=True)
class Path:
    """How to get from a frame to another."""

    flow: Field
    valid: Mask
    """255 where that can be trusted, at the flow's size."""


def join(first: Path, second: Path) -> Path:
    """Join the path from a frame to a neighbour and that from there to the next one."""
    height, width = first.flow.shape[:2]
    positions = first.flow + _grid(height, width)
    onward: Field = cv.remap(
        second.flow, positions, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE
    )
    # Between valid and invalid px the mask is in between, and does not count.
    trusted = cv.remap(
        second.valid, positions, None, cv.INTER_LINEAR, borderMode=cv.BORDER_CONSTANT
    )
    whole = cv.compare(trusted, 255, cv.CMP_EQ)
    return Path(cv.add(first.flow, onward), cv.bitwise_and(first.valid, whole))


def find_valid(there: Field, back: Field, frame_height: int) -> Mask:
    """Find where a flow can be trusted.

    Args:
        there: flow from a frame to its neighbour.
        back: flow from the neighbour to the frame.
        frame_height: of the frame itself, in px.

    Returns:
        255 where the trip there and back ends within `MAX_ROUND_TRIP_PX`, and inside the frame.
    """
    height, width = there.shape[:2]
    positions = there + _grid(height, width)
    returned: Field = cv.remap(
        back, positions, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE
    )
    returned += there
    limit_px = MAX_ROUND_TRIP_PX * height / frame_height
    x, y = cv.split(returned)
    error = cv.add(cv.multiply(x, x), cv.multiply(y, y))
    closed: Mask = cv.compare(error, limit_px**2, cv.CMP_LT)
    inside: Mask = cv.inRange(positions, (0.0, 0.0), (width - 1.0, height - 1.0))
    mask: Mask = cv.bitwise_and(closed, inside)
    return mask


def scale_flow(flow: Field, shape: Sequence[int]) -> Field:
    """Bring a flow to a plane of another size, in px of that plane.

    Args:
        flow: from a frame to its neighbour.
        shape: height and width of the plane.
    """
    height, width = shape
    flow_height, flow_width = flow.shape[:2]
    if (flow_height, flow_width) == (height, width):
        return flow
    factors = (width / flow_width, height / flow_height, 0, 0)
    if height < flow_height:
        smaller = cv.resize(flow, (width, height), interpolation=cv.INTER_AREA)
        scaled: Field = cv.multiply(smaller, factors)
        return scaled
    # The fewer vectors are multiplied.
    scaled = cv.resize(cv.multiply(flow, factors), (width, height), interpolation=cv.INTER_LINEAR)
    return scaled


def warp(plane: Plane, flow: Field) -> Plane:
    """Fetch a neighbour's samples by linear interpolation; outside of it, its edge is repeated.

    Args:
        plane: the neighbour's, uint8 or uint16 `[h, w]`.
        flow: at the plane's size.
    """
    warped: Plane = cv.remap(
        plane, flow, None, cv.INTER_LINEAR | cv.WARP_RELATIVE_MAP, borderMode=cv.BORDER_REPLICATE
    )
    return warped


def resize_mask(mask: Mask, shape: Sequence[int]) -> Mask:
    """Bring a mask to another size `(height, width)`, each px from its nearest one."""
    if mask.shape == tuple(shape):
        return mask
    resized: Mask = cv.resize(mask, (shape[1], shape[0]), interpolation=cv.INTER_NEAREST)
    return resized


def fetch(plane: Plane, rows: Floats, columns: Floats, *, cubic: bool) -> Floats:
    """Fetch samples between the grid's, at some positions; outside, the edge is repeated.

    Args:
        plane: uint8 or uint16 `[h, w]`.
        rows: `[n]`, in px.
        columns: likewise.
        cubic: keep fine texture sharp; for chroma, linear is enough.

    Returns:
        float32 `[n]`, whole numbers.
    """
    count = len(rows)
    positions = np.zeros((-(-count // FETCH_ROW) or 1, FETCH_ROW, 2), np.float32)
    flat = positions.reshape(-1, 2)
    flat[:count, 0] = columns
    flat[:count, 1] = rows
    how = cv.INTER_CUBIC if cubic else cv.INTER_LINEAR
    found = cv.remap(plane, positions, None, how, borderMode=cv.BORDER_REPLICATE)
    samples: Floats = found.ravel()[:count].astype(np.float32)
    return samples


@cache
def _grid(height: int, width: int) -> Field:
    """Each px's own position."""
    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)
    return np.dstack(np.meshgrid(columns, rows))
