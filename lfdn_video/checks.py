"""One thing that was looked at, and what was found: what `doctor` and `verify` give."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `failed`: something that is needed does not work, or is not the same."""

    name: str
    state: Literal["ok", "warning", "failed"]
    text: str
