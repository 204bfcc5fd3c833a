"""LFDN, a lightweight network that removes rain and motion blur from images.

Knows tensors and image files, nothing of video; `lfdn_video` builds on it for videos.
"""

from lfdn.config import LFDNConfig
from lfdn.model import LFDN
from lfdn.weights import WeightsError, available, load

__all__ = ["LFDN", "LFDNConfig", "WeightsError", "available", "load"]
