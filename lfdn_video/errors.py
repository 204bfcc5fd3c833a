"""Every error a user can cause, as one tree. Knows nothing; everything else may import it.

    LfdnVideoError          exit code 1, catch this one around the whole API
    ├── InputError          the source is missing, damaged, or no video
    ├── OutputError         the target cannot be written, or writing failed half-way
    ├── DeviceError         the device asked for is absent
    │   └── DeviceMemoryError   its memory is not enough, whatever was given up
    ├── WeightsError        no weights for this task, or a changed or foreign file
    └── OptionError         exit code 2: a value or a combination that cannot work

A message is one line, `what it is about: what is wrong; what to do`, and keeps FFmpeg's own words
where FFmpeg was the one to complain. Bugs of ours are not in this tree: they show a traceback.
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
    """Base of all errors that are not bugs. `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class InputError(LfdnVideoError):
    """The source cannot be read."""


class OutputError(LfdnVideoError):
    """The target cannot be written. Nothing of it is left behind."""


class DeviceError(LfdnVideoError):
    """The network cannot run where it was asked to."""


class DeviceMemoryError(DeviceError):
    """A device ran out of memory. `what` is the message without its advice."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; use smaller tiles or a smaller batch")
        self.what = what


class WeightsError(LfdnVideoError):
    """The network's weights cannot be had."""


class OptionError(LfdnVideoError):
    """The request itself cannot be fulfilled, whatever the files."""

    exit_code: ClassVar[int] = 2
