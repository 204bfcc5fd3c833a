"""LFDN, a lightweight network that removes rain and motion blur from images.

It knows tensors and image files, nothing of video: that is `lfdn_video`, which builds on it.
"""

from lfdn.config import LFDNConfig
from lfdn.model import LFDN
from lfdn.weights import WeightsError, available, load

__all__ = ["LFDN", "LFDNConfig", "WeightsError", "available", "load"]
