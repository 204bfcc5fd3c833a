"""Whether a live stream is alive, in the one word that page, window, `/healthz` and metrics show.

A session knows in which state it is (`board.py`), but a camera can fall silent before its session
notices. So who watches also looks at the clock: a live stream without a new picture is `stalled`.
"""

from typing import Literal, TypeAlias, get_args

from lfdn_video.stream.board import State, Status

FRESH_S = 5.0
"""A picture that came longer ago does not count as live."""

Condition: TypeAlias = State | Literal["stalled"]
CONDITIONS: tuple[Condition, ...] = (*get_args(State), "stalled")


def condition(status: Status, silent_s: float | None) -> Condition:
    """`silent_s`: seconds since the newest picture came, None if there was none yet."""
    if status.state == "live" and (silent_s is None or silent_s > FRESH_S):
        return "stalled"
    return status.state
