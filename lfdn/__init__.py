"""LFDN, a lightweight network that removes rain and motion blur from images.

It knows tensors and image files, nothing of video: that is `lfdn_video`, which builds on it. Names
are loaded on first use, so that `lfdn --help` and `lfdn.files` do not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfdn.config import LFDNConfig
    from lfdn.model import LFDN
    from lfdn.weights import WeightsError, available, load

__all__ = ["LFDN", "LFDNConfig", "WeightsError", "available", "load"]

_MODULE_OF = {
    "LFDN": "model",
    "LFDNConfig": "config",
    "WeightsError": "weights",
    "available": "weights",
    "load": "weights",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
