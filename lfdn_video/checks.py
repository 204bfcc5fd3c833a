"""The result of one check: what `doctor` and `verify` yield."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, as it is printed and put into JSON."""

    name: str
    """The subject, such as `frames` or `chapters`; several checks may share it."""
    state: Literal["ok", "warning", "failed"]
    """`failed`: something needed does not work, or source and target differ."""
    text: str
    """What was found, in a few words."""
