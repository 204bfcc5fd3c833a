"""The file of the gate's layers."""

from functools import cache

from safetensors.numpy import load_file

from lfdn.weights import find_packaged_gate
from lfdn_video.temporal.gate import Gate


@cache
def load_gate() -> Gate:
    """Load the packaged layers."""
    path, _ = find_packaged_gate("derain")
    return Gate(load_file(path))
