"""LFDN, a lightweight network that takes rain and motion blur out of pictures.

Knows tensors and image files, nothing of video; video is `lfdn_video`, which stands on this.
"""

from lfdn.model import LFDN, LFDNConfig
from lfdn.weights import WeightsError, available, load

__all__ = ["LFDN", "LFDNConfig", "WeightsError", "available", "load"]
