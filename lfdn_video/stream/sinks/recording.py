"""The restored stream in files, as it comes: nothing to finish, so nothing to lose.

A file has its name from the start, and grows by a tenth of a second at a time; what is in it when
the program is killed can be played. What the system still had in memory when the power went is
lost, so it is asked every half second to bring the file to the disk. A new file begins at every
multiple of the rotation's interval on the local clock, and when the picture's size changes. Its
creation time is when its first frame was captured, and its frames are as far apart as their
captures.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from av.error import FFmpegError

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import ffmpeg_words
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import EncodeOptions
from lfdn_video.stream.sinks.outlet import AudioQueue, Outlet, check_encoding, shape
from lfdn_video.stream.wire import AudioHeader, AudioPacket

KINDS = {
    ".mkv": "matroska",
    ".webm": "webm",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
}
"""Containers that can be cut off anywhere, and know when they were made."""

PIECE_MS = 100
"""So much is written at once, or a single frame where they are rarer."""

SYNC_S = 0.5

# Audio and pictures are brought in order here; the muxer is not to wait for either of them.
_GROWING = {"flush_packets": "1", "max_interleave_delta": "1"}
_CLUSTERS = {**_GROWING, "cluster_time_limit": str(PIECE_MS)}
_FRAGMENTS = {
    **_GROWING,
    "movflags": "+frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": str(PIECE_MS * 1000),
}
CONTAINER_OPTIONS = {
    "matroska": _CLUSTERS,
    "webm": _CLUSTERS,
    "mp4": _FRAGMENTS,
    "mov": _FRAGMENTS,
}

_log = logging.getLogger(__name__)


class Recording:
    """Writes frames into files. A context manager; leaving it completes the last file.

    Raises OptionError and OutputError when it is made if no file could be written, and OutputError
    later if the disk is full or the like; what is there then is complete up to that.
    """

    def __init__(
        self,
        pattern: str | Path,
        *,
        rotate_s: float | None = None,
        encode: EncodeOptions | None = None,
        on_file: Callable[[Path | None], None] | None = None,
    ) -> None:
        """`pattern`: a file's name, which may hold `strftime`'s words, such as %Y%m%d_%H%M%S.

        `on_file` is told of every file that is begun, and of None at the end.
        """
        self._pattern, self._rotate_s = str(pattern), rotate_s
        self._encode, self._on_file = encode or EncodeOptions(), on_file or (lambda _: None)
        self._audio = AudioQueue()
        self._file: _File | None = None
        self.files: list[Path] = []
        """All that were begun."""
        if rotate_s is not None and rotate_s < 1:
            raise OptionError(f"rotate: must be a second at least, got {rotate_s:g} s")
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._finish()
        except OutputError:
            if error is None:
                raise
        finally:
            self._on_file(None)

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """Audio that came, from any thread; it is written with its pictures."""
        self._audio.add(message)

    def write(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
        """The next frame, which has its `info`."""
        assert frame.info is not None
        key = (shape(frame.info), self._audio.header, self._interval(captured_at))
        if self._file is not None:
            with _errors(self._file.path):
                for packet in self._audio.until(stamp_s):
                    self._file.outlet.write_audio(packet)
            if self._file.key != key:
                self._finish()
        if self._file is None:
            self._file = self._begin(frame.info, captured_at, key)
        with _errors(self._file.path):
            self._file.outlet.write(frame, stamp_s)

    def _check(self) -> None:
        """OutputError if the first file could not be made; a later one gets another name."""
        path = _named(self._pattern, datetime.now().astimezone())
        if path.suffix.lower() not in KINDS:
            raise OutputError(f"{path}: is recorded as {', '.join(KINDS)}; end the name so")
        _make_folder(path, self._pattern)
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; give the name of a file")
        if "%" not in self._pattern and os.path.lexists(path) and not self._encode.overwrite:
            raise OutputError(
                f"{path}: exists already; choose another name or allow to overwrite it"
            )

        check_encoding(self._encode, KINDS[path.suffix.lower()])

    def _interval(self, captured_at: float) -> int:
        if self._rotate_s is None:
            return 0
        offset = datetime.fromtimestamp(captured_at).astimezone().utcoffset()
        local_s = captured_at + (offset.total_seconds() if offset is not None else 0)
        return int(local_s // self._rotate_s)

    def _begin(self, info: VideoInfo, captured_at: float, key: tuple[object, ...]) -> _File:
        wanted = _named(self._pattern, datetime.fromtimestamp(captured_at).astimezone())
        _make_folder(wanted, self._pattern)
        overwrite = self._encode.overwrite and wanted not in self.files
        path = _claimed(wanted, overwrite=overwrite)
        kind = KINDS[path.suffix.lower()]
        with _errors(path):
            outlet = Outlet(
                f"file:{path}",
                kind,
                info,
                self._encode,
                container_options=CONTAINER_OPTIONS[kind],
                audio=self._audio.header,
                began_at=captured_at,
            )
        self.files.append(path)
        _log.info("recording to %s", path)
        self._on_file(path)
        return _File(path, outlet, key)

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with _errors(file.path):
                file.close()


class _File:
    """An open file, and the thread that brings it to the disk."""

    def __init__(self, path: Path, outlet: Outlet, key: tuple[object, ...]) -> None:
        self.path, self.outlet, self.key = path, outlet, key
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._thread.join)
            stack.callback(self._done.set)
            self.outlet.close()

    def _sync(self) -> None:
        with suppress(OSError), self.path.open("rb+") as file:
            while not self._done.wait(SYNC_S):
                os.fsync(file.fileno())
            os.fsync(file.fileno())


def _named(pattern: str, moment: datetime) -> Path:
    try:
        return Path(moment.strftime(pattern)) if "%" in pattern else Path(pattern)
    except ValueError as error:
        raise OptionError(f"record: {pattern!r} is no pattern for dates ({error})") from error


def _make_folder(path: Path, pattern: str) -> None:
    """A folder whose name holds a date cannot be there beforehand."""
    if "%" in str(Path(pattern).parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made: {error.strerror}") from error


def _claimed(wanted: Path, *, overwrite: bool) -> Path:
    """A file of ours with this name, or with a number behind it if that is taken."""
    for number in range(1, 10_000):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            path.open("wb" if overwrite and number == 1 else "xb").close()
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        return path
    raise OutputError(f"{wanted}: too many files of this name; clear the folder")


@contextmanager
def _errors(path: Path) -> Generator[None]:
    try:
        yield
    except FFmpegError as error:
        raise OutputError(f"{path}: cannot be written: {ffmpeg_words(error)}") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
