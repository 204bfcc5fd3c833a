"""Rain and motion blur that continue from frame to frame, for a video's frames in their order.

`FallingRain` differs from the rain that networks are trained on (`lfdn.degrade.rain`): its drops
fall through the frames and are drawn as lines. `ShakenCamera` blurs along the scene's real motion.
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
"""Height of the frame for which the lengths of the drops are given; they grow with the frame."""


@dataclass(frozen=True, slots=True)
class RainLayer:
    """Drops at one distance. Near drops are few, fast, long, wide and out of focus."""

    drops_per_mpx: float
    fall_px: float
    """Distance fallen in one frame."""
    shutter: float
    """Share of a frame's time that the shutter is open: the streak's length over `fall_px`."""
    width_px: float
    opacity: float
    blur_px: float


LAYERS = (
    RainLayer(2600, 21, 0.60, 0.6, 0.34, 0.4),
    RainLayer(1300, 34, 0.62, 0.9, 0.44, 0.5),
    RainLayer(480, 52, 0.62, 1.3, 0.50, 0.7),
    RainLayer(90, 80, 0.60, 2.2, 0.42, 1.5),
)
SLANT = 0.14  # horizontal over vertical motion: wind from the left
GOLDEN = 0.6180339887  # each return of a drop shifts it by this share: an even spread

SUBFRAMES = 13  # the most that the GoPro data set averaged
SHAKE_SHARE = 1 / 60  # of the frame's shorter side: the largest shift in one exposure
SHAKE_TURN = math.radians(0.3)
SHAKE_FREQUENCIES = (0.043, 0.097, 0.171, 0.293)  # per frame: hand-held, 1 to 9 Hz at 30 fps


class FallingRain:
    """Moving rain for frames of one size, which may be rained on in any order.

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
            for layer in LAYERS
        ]

    def fall(self, picture: FloatPixels, index: int) -> FloatPixels:
        """Draw the rain of one moment over a frame.

        Args:
            picture: The frame, RGB, float32 `[H, W, 3]` in 0…1, of the constructor's size.
            index: Number of the frame in the video, from 0. The rain is a function of it.

        Returns:
            The rainy frame, like `picture`.
        """
        rainy = picture
        # A drop shows the light of its surroundings, and is brighter than most of them.
        light = cv2.GaussianBlur(picture, (0, 0), self.height / 12) * 0.45 + 0.52
        for layer, drops in self._layers:
            cover = self._draw_streaks(layer, drops, index)[..., None]
            rainy = rainy * (1 - cover) + light * cover
        return np.clip(rainy, 0, 1).astype(np.float32)

    def _draw_streaks(
        self, layer: RainLayer, drops: npt.NDArray[np.float64], index: int
    ) -> FloatPixels:
        """Draw the drops of one layer: the covered share of each pixel, `[H, W]`, 0…1."""
        across, start, pace, lean, strength = drops.T
        fall = layer.fall_px * self._scale * (0.85 + 0.3 * pace)
        length = fall * layer.shutter
        period = self.height + 2 * layer.fall_px * self._scale  # enters above, leaves below
        fallen = start * period + fall * index
        bottom = fallen % period
        slant = SLANT + 0.05 * (lean - 0.5)
        spread = self.width + SLANT * period
        head = (across + GOLDEN * (fallen // period)) % 1 * spread - SLANT * period + slant * bottom
        canvas = np.zeros((self.height * SUPERSAMPLING, self.width * SUPERSAMPLING), np.uint8)
        ends = np.stack([head - slant * length, bottom - length, head, bottom], 1)
        fixed = np.round(ends * SUPERSAMPLING * 16).astype(int)
        thickness = max(1, round(layer.width_px * SUPERSAMPLING * self._scale))
        for (x0, y0, x1, y1), part in zip(fixed.tolist(), strength, strict=True):
            value = round(255 * layer.opacity * (0.45 + 0.55 * part))
            cv2.line(canvas, (x0, y0), (x1, y1), value, thickness, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(canvas, (0, 0), layer.blur_px * SUPERSAMPLING * self._scale)
        small = cv2.resize(soft, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32) / np.float32(255)


class ShakenCamera:
    """A hand-held camera with a long exposure. Frames pass through it in their order.

    Args:
        seed: Makes the shake repeatable.
        exposure: Share of a frame's time (0…1) during which the shutter is open.
        gamma: Gamma of the camera; light is averaged after undoing it.
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

        The motion of the scene is estimated by optical flow from the previous frame; the first
        frame, and one of another size, has none.

        Args:
            picture: The frame, RGB, float32 `[1, 3, H, W]` in 0…1, on the CPU.

        Returns:
            The blurred frame, like `picture`.
        """
        height, width = picture.shape[2:]
        pixels = (picture[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        scene = torch.zeros(1, 2, height, width)
        if self._previous is not None and self._previous.shape == pixels.shape:
            back = optical_flow(pixels, self._previous)
            scene = torch.from_numpy(-back * np.float32(self._exposure)).permute(2, 0, 1)[None]
        path = self._compute_path(SHAKE_SHARE * min(height, width))
        self._previous = pixels
        self._index += 1
        return average_along(picture, path, scene, gamma=self._gamma)

    def _compute_path(self, longest_px: float) -> Tensor:
        """`[1, SUBFRAMES, 4]`: the shake during this exposure, zero in its middle."""
        when = self._index + self._exposure * np.linspace(-0.5, 0.5, SUBFRAMES)
        angles = 2 * math.pi * np.outer(when, SHAKE_FREQUENCIES)
        # All frequencies reach the same speed, and their sum at most `longest_px` per frame.
        speeds = 1 / (2 * math.pi * np.array(SHAKE_FREQUENCIES) * len(SHAKE_FREQUENCIES))
        where = (np.sin(angles[:, :, None] + self._phases) * speeds[:, None]).sum(1)
        where = (where - where[SUBFRAMES // 2]) / self._exposure * self._shake
        x, y, turn = where.T * np.array([[longest_px], [longest_px], [SHAKE_TURN]])
        return torch.from_numpy(np.stack([x, y, turn, np.zeros_like(x)], 1)).float()[None]
