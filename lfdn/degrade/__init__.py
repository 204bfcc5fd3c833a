"""Synthetic rain and motion blur, to train on and to measure on.

`rain` and `blur` degrade a batch of unrelated images, on the batch's device, and return it with
what the network is expected to restore. `FallingRain` and `ShakenCamera` degrade the frames of a
video in their order. Data sets are in `lfdn.datasets`.

Other effects of weather and camera (veil, darkness, sensor noise, compression) are applied to the
degraded and the clean image alike: the network is to remove streaks or blur and to leave the rest.
"""

from lfdn.degrade.blur import BlurMix, average_along, blur, optical_flow
from lfdn.degrade.frames import FallingRain, ShakenCamera
from lfdn.degrade.rain import RainMix, cover, drawn_streaks, rain, rendered_streaks

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
