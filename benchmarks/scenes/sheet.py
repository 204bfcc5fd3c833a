"""One image of what the stage did to a frame, to look at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as Images

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.media import Frame, FrameFormat

CROP_PX = (120, 160)
"""Height and width of what is shown twice as large."""

AMPLIFIED = 8
GAP_PX = 6


def make_sheet(frames: Sequence[Frame], info: FrameFormat) -> Images.Image:
    """Show one frame's source, network alone, stage, and the change of the stage, amplified.

    Above whole frames at half size, below what changed most, twice as large.
    """
    converter = PlaneConverter(info)
    shown = [converter.to_image(frame.planes).astype(np.float32) for frame in frames]
    change = shown[2] - shown[1]
    columns = [*shown, 128 + AMPLIFIED * change]
    height, width = CROP_PX
    heat = np.abs(change).sum(2)
    if not heat.any():
        heat = np.abs(shown[1] - shown[0]).sum(2)
    rows, places = heat.sum(1), heat.sum(0)
    top = _densest(rows, min(height, len(rows)))
    left = _densest(places, min(width, len(places)))
    whole_height = info.height * 2 * width // info.width
    size = (4 * (2 * width + GAP_PX), whole_height + GAP_PX + 2 * height)
    sheet = Images.new("RGB", size, "white")
    for number, column in enumerate(columns):
        image = Images.fromarray(column.clip(0, 255).astype(np.uint8))
        x = number * (2 * width + GAP_PX)
        sheet.paste(image.resize((2 * width, whole_height)), (x, 0))
        crop = image.crop((left, top, left + width, top + height))
        enlarged = crop.resize((2 * width, 2 * height), Images.Resampling.NEAREST)
        sheet.paste(enlarged, (x, whole_height + GAP_PX))
    return sheet


def _densest(sums: np.ndarray[Any, Any], length: int) -> int:
    """Where a window over sums holds the most."""
    return int(np.argmax(np.convolve(sums, np.ones(length), "valid")))
