"""Clean pictures to degraded ones, to learn from and to measure on.

`rain` and `blur` take a batch of unrelated pictures, on whatever device it is, and return it
degraded, with what the network shall make of it. `FallingRain` and `ShakenCamera` take the frames
of a video, one after the other. Where pictures come from is `lfdn.datasets.data`.

What weather and camera do *besides* (veil, darkness, sensor noise, compression) is laid on the
degraded and the clean picture alike: the network shall take out streaks or blur and leave the rest.
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
