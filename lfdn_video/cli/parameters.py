"""Types of single command line values: times, intervals, frame rates, NAME=VALUE.

`options.py` and `live.py` use them.
"""

import re
from fractions import Fraction
from typing import Any

import click
from click.shell_completion import CompletionItem

FILE = click.Path()
"""The name of a file, a folder or an address: a string as it was given; shells complete files."""

INTERVAL = re.compile(r"(\d+(?:\.\d*)?)([smhd]?)", re.IGNORECASE)
UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Seconds(click.ParamType[float]):
    """`12.5`, `1:30` or `1:02:03.250`, as seconds; `5s`, `2m` and `1h`, too."""

    name = "time"
    _pattern = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if (interval := INTERVAL.fullmatch(str(value))) is not None and interval[2]:
            return float(interval[1]) * UNIT_S[interval[2].lower()]
        match = self._pattern.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is neither seconds nor [HH:]MM:SS[.ms]", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


class Interval(click.ParamType[float]):
    """`90`, `90s`, `15m`, `1h` or `1d`, as seconds above 0."""

    name = "interval"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = INTERVAL.fullmatch(str(value))
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is not an interval; write 90s, 15m, 1h or 1d", param, ctx)
        return float(match[1]) * UNIT_S[match[2].lower()]


class Rate(click.ParamType[Fraction]):
    """`25`, `29.97` or `30000/1001`, as frames per second above 0."""

    name = "fps"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if rate <= 0:
            self.fail(f"{value!r} is not a frame rate; write 25, 29.97 or 30000/1001", param, ctx)
        return rate


class WordOrInteger(click.ParamType[str | int]):
    """One of some words, or an integer from 1; `least`: the smallest that makes sense."""

    def __init__(self, *words: str, least: int = 1) -> None:
        self._words = words
        self._least = least
        self.name = "|".join((*words, "number"))

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        text = str(value)
        if text in self._words:
            return text
        if not text.isdecimal() or int(text) < 1:
            words = " nor ".join(self._words)
            number = f"a whole number from {self._least}"
            self.fail(f"{text!r} is neither {words} nor {number}", param, ctx)
        return int(text)


class EncoderName(click.ParamType[str]):
    """The name of a video encoder, checked where it is opened; shells complete it."""

    name = "encoder"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 (click passes it)
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from lfdn_video.output.encoder import list_encoders

        return [CompletionItem(name) for name in list_encoders() if name.startswith(incomplete)]


class DeviceName(click.ParamType[str]):
    """The name of a device, checked when the network is loaded; shells complete it."""

    name = "device"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        # Those of any machine: finding this one's would load torch, which takes seconds.
        names = ("auto", "cpu", "cuda", "mps")
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class AutoOrNumber(click.ParamType[str | float]):
    """`auto`, or a number; `LiveOptions` checks its range."""

    name = "scale"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        if str(value) == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither auto nor a number", param, ctx)


def parse_key_values(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Parse the NAME=VALUE words of an option that may be repeated. A callback for click.

    Returns:
        Values by name; of a repeated name, the last one.

    Raises:
        click.BadParameter: a word has no name or no equals sign.
    """
    pairs = [value.partition("=") for value in values]
    if not all(key and equals for key, equals, _ in pairs):
        raise click.BadParameter("write it as NAME=VALUE", ctx, param)
    return {key: value for key, _, value in pairs}
