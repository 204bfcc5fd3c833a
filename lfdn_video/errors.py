"""Every error that a user can cause, as one tree. Imports nothing.

    LfdnVideoError              exit code 1; catch it around any call of this package
    ├── InputError              the source is missing, corrupt, or not a video
    ├── OutputError             the target cannot be written, or writing failed half-way
    ├── DeviceError             the device asked for is absent or cannot run the network
    │   └── DeviceMemoryError   the device runs out of memory even with the smallest tiles
    ├── WeightsError            no weights for this task, or a modified or foreign file
    └── OptionError             exit code 2: a value or a combination that cannot work

A message is one line, `subject: what is wrong; what to do`, and quotes FFmpeg where FFmpeg reported
the error. Bugs of this package are other exceptions.
"""

from typing import ClassVar

__all__ = [
    "DeviceError",
    "DeviceMemoryError",
    "InputError",
    "LfdnVideoError",
    "OptionError",
    "OutputError",
    "WeightsError",
]


class LfdnVideoError(Exception):
    """Base class of all errors that are not bugs.

    Attributes:
        exit_code: exit code of the command line: 2 for an `OptionError`, else 1.
    """

    exit_code: ClassVar[int] = 1


class InputError(LfdnVideoError):
    """The source cannot be read: missing, corrupt, or not a video or an image."""


class OutputError(LfdnVideoError):
    """The target cannot be written. An existing target is unchanged.

    The finished segments of a long run are kept for `EncodeOptions.resume`; nothing else is left.
    """


class DeviceError(LfdnVideoError):
    """The network cannot run on the device that was asked for."""


class DeviceMemoryError(DeviceError):
    """The device ran out of memory.

    Args:
        what: the message without its advice; also an attribute.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; use smaller tiles or a smaller batch")
        self.what = what


class WeightsError(LfdnVideoError):
    """The weights of the network are missing, corrupt, modified, or of another network."""


class OptionError(LfdnVideoError):
    """An option value, or a combination of options, that can never work, whatever the files."""

    exit_code: ClassVar[int] = 2
