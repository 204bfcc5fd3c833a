"""Synthetic rain and motion blur, for training and for evaluation.

`rain` and `blur` degrade a batch of unrelated images, on the batch's device, and return the
degraded images with their targets. `FallingRain` and `ShakenCamera` degrade consecutive frames of a
video. Data sets are in `lfdn.datasets`.

Other effects of weather and camera (veil, darkness, sensor noise, compression) are applied to the
degraded image and the target alike: the network learns to remove streaks or blur and to leave
everything else.
"""

from lfdn.degrade.blur import BlurMix, average_along, blur, optical_flow
from lfdn.degrade.frames import FallingRain, ShakenCamera
from lfdn.degrade.rain import (
    RainMix,
    cover,
    drawn_streaks,
    rain,
    rendered_streaks,
)

__all__ = [
    "BlurMix",
    "FallingRain",
    "RainMix",
    "ShakenCamera",
    "average_along",
    "blur",
    "cover",
    "drawn_streaks",
    "optical_flow",
    "rain",
    "rendered_streaks",
]
