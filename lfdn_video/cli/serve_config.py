"""The file of `lfdn-video serve`: TOML to values, and one clear line for whatever is wrong.

Every error names the file and the key's path: `cameras.toml: cameras.door.scale: must be ...`.
docs/serve.md has the keys.
"""

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from lfdn_video.cli.live_source import DEFAULT_WEB_ADDRESS, parse_live_source
from lfdn_video.cli.parameters import AutoOrNumber, Interval, Seconds, WordOrInteger
from lfdn_video.errors import InputError, LfdnVideoError, OptionError
from lfdn_video.options import (
    Delay,
    EncodeOptions,
    InferenceOptions,
    LiveOptions,
    Network,
    Precision,
    Prefer,
    Task,
    Temporal,
)
from lfdn_video.stream.addresses import Source
from lfdn_video.stream.service import CameraPlan, RecordingPlan, ServicePlan
from lfdn_video.stream.sinks.recording import MUXER_BY_SUFFIX
from lfdn_video.stream.sinks.retention import Keep

T = TypeVar("T")

Convert = Callable[[Any], Any]
"""Converts a value. Raises ValueError or click.BadParameter with what is wrong."""

SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?)?B?", re.IGNORECASE)
UNIT_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}
CAMERA_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPlan:
    """The page of a service."""

    address: str = DEFAULT_WEB_ADDRESS
    """`HOST:PORT`."""
    token: str | None = field(default=None, repr=False)
    """Access token; None: generated where one is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """A file that was read, and is valid as far as that can be told without running it."""

    plan: ServicePlan
    """The cameras, and what is done with them."""
    web: WebPlan | None
    """The page; None: there is none."""
    holds_secret: bool
    """True if a password or a token is written in the file itself."""


def read_config(path: Path) -> ServeConfig:
    """Read and check a file.

    Args:
        path: the file.

    Returns:
        Its values. No camera was opened.

    Raises:
        InputError: it cannot be read, or a value in it cannot work.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the name") from error
    except ValueError as error:  # TOML's own errors tell line and column
        raise InputError(f"{path}: is not valid TOML: {error}") from error
    top = _Table(str(path), "", content)
    defaults = _read_defaults(top.table("defaults"))
    cameras = top.named_tables("cameras")
    if not cameras:
        top.fail("cameras", 'there is none; add [cameras.NAME] with source = "rtsp://..."')
    network = top.table("network").read(
        {**NETWORK, "weights": ("weights", _make_file(path.parent))}
    )
    web = top.table("web").read(WEB) if "web" in content else None
    recording = (
        _read_recording(top.table("recording"), path.parent) if "recording" in content else None
    )
    encode = top.table("encode")
    plan = ServicePlan(
        cameras=[_read_camera(table, defaults) for table in cameras],
        weights=network.pop("weights", None),
        inference=top.table("network").make(InferenceOptions, network),
        recording=recording,
        encode=encode.make(EncodeOptions, encode.read(ENCODE)),
    )
    top.refuse_unknown({"defaults", "cameras", "network", "web", "recording", "encode"})
    if plan.weights is not None and len({camera.task for camera in plan.cameras}) > 1:
        top.fail("network.weights", "is for one task, and the cameras have two; leave it out")
    return ServeConfig(
        plan=plan,
        web=None if web is None else WebPlan(**web),
        holds_secret=any(map(_is_secret, cameras)) or _is_written(top.table("web").values, "token"),
    )


class _Table:
    """A table of the file, and the path to it for messages."""

    def __init__(self, file: str, path: str, values: Mapping[str, Any]) -> None:
        self._file = file
        self.path = path
        self.values = values

    def fail(self, key: str, what: str) -> None:
        """Raise InputError about a key of this table."""
        raise InputError(f"{self._file}: {self._join(key)}: {what}")

    def table(self, key: str) -> "_Table":
        """Return a table in this one, empty if it is missing."""
        values = self.values.get(key, {})
        if not isinstance(values, dict):
            self.fail(key, f"is not a table; write [{self._join(key)}]")
        return _Table(self._file, self._join(key), values)

    def named_tables(self, key: str) -> "list[_Table]":
        """Return all tables in one that is in this one."""
        outer = self.table(key)
        return [outer.table(name) for name in outer.values]

    def read(self, known: Mapping[str, tuple[str, Convert]]) -> dict[str, Any]:
        """Convert all values, each to the field that `known` has for its key."""
        self.refuse_unknown(known)
        found = {}
        for key, value in self.values.items():
            name, convert = known[key]
            try:
                found[name] = convert(value)
            except click.BadParameter as error:
                self.fail(key, error.message)
            except (TypeError, ValueError, LfdnVideoError) as error:
                self.fail(key, str(error))
        return found

    def refuse_unknown(self, known: "Mapping[str, object] | set[str]") -> None:
        """Refuse a key that is not known, with the one that may be meant."""
        for key in self.values:
            if key not in known:
                close = get_close_matches(key, list(known), n=1)
                hint = (
                    f"did you mean {close[0]}?"
                    if close
                    else f"use one of {', '.join(sorted(known))}"
                )
                self.fail(key, f"there is no such key; {hint}")

    def make(self, kind: Callable[..., T], values: Mapping[str, Any]) -> T:
        """Make a dataclass; what it refuses is told by the key's path."""
        try:
            return kind(**values)
        except OptionError as error:
            what, _, wrong = str(error).partition(": ")
            raise InputError(
                f"{self._file}: {self._join(what.replace(' ', '_'))}: {wrong}"
            ) from error

    def _join(self, key: str) -> str:
        shown = key if re.fullmatch(r"[\w.-]+", key) else repr(key)
        return ".".join(filter(None, (self.path, shown if key else "")))


def _read_defaults(table: _Table) -> dict[str, Any]:
    values = table.read({**LIVE, **EVERY_CAMERA})
    live = {name: values[name] for name, _ in LIVE.values() if name in values}
    table.make(LiveOptions, live)  # so that what is wrong is told here, not of a camera
    return values


def _read_camera(table: _Table, defaults: Mapping[str, Any]) -> CameraPlan:
    name = table.path.partition(".")[2]
    if CAMERA_NAME.fullmatch(name) is None:
        table.fail("", "is not a name; use up to 32 lower-case letters, digits, - and _")
    values = {**defaults, **table.read({**LIVE, **EVERY_CAMERA, **OWN})}
    if "source" not in values:
        table.fail("source", "is missing; give the camera's address, number or file")
    own = {key: values.pop(key) for key in ("source", "task", "record", "out") if key in values}
    return CameraPlan(name=name, options=table.make(LiveOptions, values), **own)


def _read_recording(table: _Table, folder: Path) -> RecordingPlan:
    values = table.read(RECORDING)
    if "folder" not in values:
        table.fail("folder", "is missing; give the folder of the recordings")
    keep = Keep(seconds=values.pop("keep_s", None), size_bytes=values.pop("keep_bytes", None))
    values["folder"] = (folder / values["folder"]).absolute()
    if values.get("rotate_s", 1) < 1:
        table.fail("rotate", f"must be at least 1s, got {values['rotate_s']:g}s")
    return RecordingPlan(keep=keep, **values)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be text in quotes, got {value!r}")
    return value


def _secret(value: Any) -> str:
    """Text in which ${NAME} stands for a variable of the environment; it is never shown."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be text in quotes")

    def look_up(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"the environment has no variable {match[1]}; set it")
        return os.environ[match[1]]

    return VARIABLE.sub(look_up, value)


def _is_secret(camera: _Table) -> bool:
    """Tell whether an address of a camera has a password that is written in the file."""
    texts = [str(camera.values.get(key, "")) for key in ("source", "out")]
    return any(Source("network", text).has_secret and "${" not in text for text in texts)


def _is_written(values: Mapping[str, Any], key: str) -> bool:
    return key in values and VARIABLE.search(str(values[key])) is None


def _source(value: Any) -> Any:
    return parse_live_source(_secret(str(value) if type(value) is int else value), None)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"must be true or false, got {value!r}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number, got {value!r}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"must be a whole number from 0, got {value!r}")
    return value


def _words(*words: object) -> Convert:
    def convert(value: Any) -> Any:
        if isinstance(value, bool) or value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(map(str, words))}")
        return value

    return convert


def _as(kind: "click.ParamType[Any]") -> Convert:
    """Convert as the command line does: `15m`, `auto`, 0.5."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"must be a number or text, got {value!r}")
        return kind.convert(value, None, None)

    return convert


def _size(value: Any) -> int:
    """`500GB`, `1.5 TB`, `200GiB`: bytes."""
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise ValueError(f"{value!r} is not a size; write 500GB or 1.5TB")
    unit = (match[2] or "").upper()
    factor = (1024 if unit.endswith("I") else 1000) ** UNIT_POWER[unit[0]] if unit else 1
    return int(float(match[1]) * factor)


def _texts(value: Any) -> dict[str, str]:
    """A table of FFmpeg's options."""
    if not isinstance(value, dict) or any(
        isinstance(each, bool) or not isinstance(each, str | int | float) for each in value.values()
    ):
        raise ValueError('must be a table of text and numbers, such as {rtsp_transport = "udp"}')
    return {key: str(each) for key, each in value.items()}


def _suffix(value: Any) -> str:
    known = [suffix.removeprefix(".") for suffix in MUXER_BY_SUFFIX]
    return f".{_words(*known)(value)}"


def _make_file(folder: Path) -> Convert:
    """A file, relative to the folder of the configuration."""

    def convert(value: Any) -> Path:
        path = folder / _text(value)
        if not path.is_file():
            raise ValueError(f"{path} is no file; check the name")
        return path

    return convert


LIVE: Mapping[str, tuple[str, Convert]] = {
    "max_latency": ("max_latency_s", _as(Seconds())),
    "scale": ("scale", _as(AutoOrNumber())),
    "prefer": ("prefer", _words(*get_args(Prefer))),
    "temporal": ("temporal", _words(*get_args(Temporal))),
    "delay": ("delay", _words(*get_args(Delay))),
    "stall_timeout": ("stall_timeout_s", _as(Interval())),
    "retries": ("retries", _count),
    "loop": ("loop", _switch),
    "input_options": ("input_options", _texts),
}
EVERY_CAMERA: Mapping[str, tuple[str, Convert]] = {
    "task": ("task", _words(*get_args(Task))),
    "record": ("record", _switch),
}
OWN: Mapping[str, tuple[str, Convert]] = {
    "source": ("source", _source),
    "out": ("out", _secret),
}
NETWORK: Mapping[str, tuple[str, Convert]] = {
    "device": ("device", _text),
    "network": ("network", _words(*get_args(Network))),
    "precision": ("precision", _words(*get_args(Precision))),
    "tile": ("tile", _as(WordOrInteger("auto", "off"))),
}
WEB: Mapping[str, tuple[str, Convert]] = {
    "address": ("address", _text),
    "token": ("token", _secret),
}
RECORDING: Mapping[str, tuple[str, Convert]] = {
    "folder": ("folder", _text),
    "container": ("suffix", _suffix),
    "rotate": ("rotate_s", _as(Interval())),
    "keep_for": ("keep_s", _as(Interval())),
    "keep_size": ("keep_bytes", _size),
}
ENCODE: Mapping[str, tuple[str, Convert]] = {
    "codec": ("codec", _text),
    "crf": ("crf", _number),
    "preset": ("preset", _text),
    "pix_fmt": ("pixel_format", _text),
    "options": ("codec_options", _texts),
}
