"""The packaged layers of the gate."""

from functools import cache

from lfdn_video.temporal.gate import Gate


@cache
def load_gate() -> Gate:
    """Load the gate for rain; all stages of a process share it.

    Raises:
        WeightsError: The file is missing or changed.
    """
    from lfdn.weights import read_packaged_gate  # torch takes seconds to load

    return Gate({name: layer.numpy() for name, layer in read_packaged_gate("derain").items()})
