"""Rain and motion blur that continue from frame to frame, for consecutive frames of a video.

`FallingRain` is not the rain of training (`lfdn.degrade.rain`): its drops fall from frame to frame
and are drawn as lines. `ShakenCamera` blurs along the scene's real motion.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lfdn.degrade.blur import GAMMA, average_along, optical_flow

FloatPixels = npt.NDArray[np.float32]
"""Values in 0…1: a frame `[H, W, 3]`, RGB, or a mask `[H, W]`."""

SUPERSAMPLING = 2
REFERENCE_HEIGHT_PX = 360
"""Height of the frame for which lengths of drops are given; they scale with the frame."""


@dataclass(frozen=True, slots=True)
class RainLayer:
    """Drops at one distance. Near drops are few, fast, long, wide and out of focus."""

    drops_per_mpx: float
    fall_px: float
    """Distance that a drop falls in one frame interval."""
    shutter: float
    """Share of the frame interval that the shutter is open: the streak's length over `fall_px`."""
    width_px: float
    opacity: float
    blur_px: float


RAIN_LAYERS = (
    RainLayer(2600, 21, 0.60, 0.6, 0.34, 0.4),
    RainLayer(1300, 34, 0.62, 0.9, 0.44, 0.5),
    RainLayer(480, 52, 0.62, 1.3, 0.50, 0.7),
    RainLayer(90, 80, 0.60, 2.2, 0.42, 1.5),
)
SLANT = 0.14  # horizontal over vertical motion: wind from the left
GOLDEN = 0.6180339887  # share of the width by which a drop moves on each return: an even spread

SUBFRAMES = 13  # the largest number that the GoPro data set averaged
SHAKE_SHARE = 1 / 60  # of the frame's shorter side: the largest shift in one exposure
SHAKE_TURN = math.radians(0.3)
SHAKE_FREQUENCIES = (0.043, 0.097, 0.171, 0.293)  # cycles per frame: 1 to 9 Hz at 30 fps


class FallingRain:
    """Moving rain for frames of one size, in any order.

    Args:
        height: Height of the frames in px.
        width: Width of the frames in px.
        seed: Makes the rain repeatable.
        density: Number of drops, as a factor on that of heavy rain.
    """

    def __init__(self, height: int, width: int, *, seed: int, density: float = 1.0) -> None:
        self.height = height
        self.width = width
        self._scale = height / REFERENCE_HEIGHT_PX
        megapixels = height * width / 1e6
        generator = np.random.default_rng(seed)
        self._layers = [
            (layer, generator.random((round(layer.drops_per_mpx * density * megapixels), 5)))
            for layer in RAIN_LAYERS
        ]

    def fall(self, picture: FloatPixels, index: int) -> FloatPixels:
        """Draw the rain over a frame, as it is at the time of that frame.

        Args:
            picture: The frame, RGB, float32 `[H, W, 3]` in 0…1, of the constructor's size.
            index: Number of the frame in the video, counted from 0.

        Returns:
            The rainy frame, like `picture`.
        """
        rainy = picture
        # A drop refracts light from all around it, so it is brighter than most backgrounds.
        light = cv2.GaussianBlur(picture, (0, 0), self.height / 12) * 0.45 + 0.52
        for layer, drops in self._layers:
            cover = self._draw_streaks(layer, drops, index)[..., None]
            rainy = rainy * (1 - cover) + light * cover
        return np.clip(rainy, 0, 1).astype(np.float32)

    def _draw_streaks(
        self, layer: RainLayer, drops: npt.NDArray[np.float64], index: int
    ) -> FloatPixels:
        """Draw the drops of one layer.

        Returns:
            The covered share of each pixel, `[H, W]` in 0…1.
        """
        across, start, pace, lean, strength = drops.T
        fall = layer.fall_px * self._scale * (0.85 + 0.3 * pace)
        length = fall * layer.shutter
        # A drop enters above the frame, leaves below it, and returns at another place.
        period = self.height + 2 * layer.fall_px * self._scale
        fallen = start * period + fall * index
        bottom = fallen % period
        slant = SLANT + 0.05 * (lean - 0.5)
        spread = self.width + SLANT * period
        head = (across + GOLDEN * (fallen // period)) % 1 * spread - SLANT * period + slant * bottom
        canvas = np.zeros((self.height * SUPERSAMPLING, self.width * SUPERSAMPLING), np.uint8)
        ends = np.stack([head - slant * length, bottom - length, head, bottom], 1)
        fixed = np.round(ends * SUPERSAMPLING * 16).astype(int)  # cv2.line's 4 fractional bits
        thickness = max(1, round(layer.width_px * SUPERSAMPLING * self._scale))
        for (x0, y0, x1, y1), part in zip(fixed.tolist(), strength, strict=True):
            value = round(255 * layer.opacity * (0.45 + 0.55 * part))
            cv2.line(canvas, (x0, y0), (x1, y1), value, thickness, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(canvas, (0, 0), layer.blur_px * SUPERSAMPLING * self._scale)
        small = cv2.resize(soft, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32) / np.float32(255)


class ShakenCamera:
    """A hand-held camera with a long exposure, for consecutive frames.

    Args:
        seed: Makes the shake repeatable.
        exposure: Share of the frame interval during which the shutter is open, above 0 and up to 1.
        gamma: Gamma of the camera; it is undone before averaging.
        shake: Strength of the shake: 0 is a tripod, 1 moves the frame by up to 1/60 of its shorter
            side during an exposure.
    """

    def __init__(
        self, *, seed: int, exposure: float = 0.8, gamma: float = GAMMA, shake: float = 1.0
    ) -> None:
        generator = np.random.default_rng(seed)
        self._phases = generator.uniform(0, 2 * math.pi, (len(SHAKE_FREQUENCIES), 3))
        self._exposure = exposure
        self._gamma = gamma
        self._shake = shake
        self._previous: npt.NDArray[np.uint8] | None = None
        self._index = 0

    def expose(self, picture: Tensor) -> Tensor:
        """Blur the next frame along the motion of the camera and of the scene.

        The motion of the scene is the optical flow from the previous frame. The first frame, and
        one of another size than the previous one, is blurred by the camera alone.

        Args:
            picture: The frame, RGB, float32 `[1, 3, H, W]` in 0…1, on the CPU.

        Returns:
            The blurred frame, like `picture`.
        """
        height, width = picture.shape[2:]
        pixels = (picture[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        scene = torch.zeros(1, 2, height, width)
        if self._previous is not None and self._previous.shape == pixels.shape:
            # From this frame to the previous one, and negated: the flow must be that of this
            # frame's pixels, which `average_along` moves.
            back = optical_flow(pixels, self._previous)
            scene = torch.from_numpy(-back * np.float32(self._exposure)).permute(2, 0, 1)[None]
        path = self._compute_path(SHAKE_SHARE * min(height, width))
        self._previous = pixels
        self._index += 1
        return average_along(picture, path, scene, gamma=self._gamma)

    def _compute_path(self, longest_px: float) -> Tensor:
        """Compute the shake during this exposure, `[1, SUBFRAMES, 4]`, zero in its middle."""
        when = self._index + self._exposure * np.linspace(-0.5, 0.5, SUBFRAMES)
        angles = 2 * math.pi * np.outer(when, SHAKE_FREQUENCIES)
        # All frequencies reach the same speed, and their sum at most `longest_px` per frame.
        speeds = 1 / (2 * math.pi * np.array(SHAKE_FREQUENCIES) * len(SHAKE_FREQUENCIES))
        where = (np.sin(angles[:, :, None] + self._phases) * speeds[:, None]).sum(1)
        where = (where - where[SUBFRAMES // 2]) / self._exposure * self._shake
        x, y, turn = where.T * np.array([[longest_px], [longest_px], [SHAKE_TURN]])
        return torch.from_numpy(np.stack([x, y, turn, np.zeros_like(x)], 1)).float()[None]
