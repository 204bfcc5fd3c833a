"""Records the restored stream to files that can be played at any moment.

A file has its final name from the start and grows every tenth of a second; after a kill, it plays
up to there. It is synced to disk every half second, so a power cut costs little more. A new file
starts at every multiple of the rotation interval in local time, and when the format of frames or
audio changes. Its creation time is the capture of its first frame; its timestamps are those of the
captures.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.files import Inputs, check_target
from lfdn_video.media import Frame, FrameFormat
from lfdn_video.options import EncodeOptions
from lfdn_video.output.target import output_errors
from lfdn_video.stream.sinks.audio_queue import AudioQueue
from lfdn_video.stream.sinks.live_encoder import check_encoding
from lfdn_video.stream.sinks.live_writer import LiveWriter, format_key
from lfdn_video.stream.wire import AudioHeader, AudioPacket

MUXER_BY_SUFFIX = {
    ".mkv": "matroska",
    ".webm": "webm",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
}
"""FFmpeg's muxers by extension: containers that play when truncated and have a creation time."""

CLUSTER_MS = 100
"""Span of frames that are written at once, in ms; rarer frames are written one by one."""

SYNC_S = 0.5

# We interleave audio and video ourselves; the muxer must not wait for either.
_GROWING = {"flush_packets": "1", "max_interleave_delta": "1"}
_CLUSTERS = {**_GROWING, "cluster_time_limit": str(CLUSTER_MS)}
_FRAGMENTS = {
    **_GROWING,
    "movflags": "+frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": str(CLUSTER_MS * 1000),  # microseconds
}
GROWING_FILE_OPTIONS = {
    "matroska": _CLUSTERS,
    "webm": _CLUSTERS,
    "mp4": _FRAGMENTS,
    "mov": _FRAGMENTS,
}

logger = logging.getLogger(__name__)


class Recording:
    """A sink that writes files. A context manager; leaving it completes the last file."""

    def __init__(
        self,
        pattern: str | Path,
        *,
        rotate_s: float | None = None,
        encode: EncodeOptions | None = None,
        inputs: Inputs | None = None,
        on_file: Callable[[Path | None], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
        retry_s: float | None = None,
    ) -> None:
        """Check everything that can be checked before the first frame.

        Args:
            pattern: a file name; may contain `strftime` codes, such as %Y%m%d_%H%M%S.
            rotate_s: interval in seconds after which a new file starts, 1 or more; None: one file.
            encode: the user's encoding options; None: the defaults.
            inputs: the files that the session reads, which are never replaced.
            on_file: called with the path of every new file, and with None at the end.
            on_failure: called with the reason if a file cannot be written. The recording ends
                there, and the session goes on.
            retry_s: seconds after which a new file is tried then; None: it does not go on.

        Raises:
            OptionError: the pattern, the interval or the encoding cannot be used.
            OutputError: the first file cannot be written.
        """
        self._pattern = str(pattern)
        self._rotate_s = rotate_s
        self._encode = encode or EncodeOptions()
        self._inputs = inputs or Inputs()
        self._on_file = on_file or (lambda _: None)
        self._on_failure = on_failure or (lambda _: None)
        self._failure: OutputError | None = None
        """Why nothing is recorded now."""
        self._retry_s = retry_s
        self._retry_at_s = 0.0
        self._audio = AudioQueue()
        self._file: _OpenFile | None = None
        self.files: list[Path] = []
        """All files so far, including the open one."""
        if rotate_s is not None and rotate_s < 1:
            raise OptionError(f"rotate: must be at least 1 s, got {rotate_s:g} s")
        self._check_first_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._close_file()
        except OutputError:
            if error is None:  # otherwise the error that ended the block comes first
                raise
        finally:
            self._on_file(None)
        if error is None and self._failure is not None:
            raise self._failure

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """Queue audio, from any thread; it is written with the frames of its time."""
        self._audio.add_message(message)

    def write_frame(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
        """Write the next frame, in a new file if it is time for one.

        If the file cannot be written, for instance because the disk is full, the recording ends, or
        pauses if it is to be retried. Earlier frames are kept, later ones are ignored, and leaving
        the block raises the error.

        Args:
            frame: a restored frame; its `info` is set.
            stamp_s: its time of capture by `time.monotonic`, which becomes its timestamp.
            captured_at: the same in seconds since the epoch, for names and rotation.
        """
        if self._failure is not None and not self._is_due():
            return
        try:
            self._write(frame, stamp_s, captured_at)
        except OutputError as error:
            self._fail(error)

    def _fail(self, error: OutputError) -> None:
        """End the recording; what was written so far stays."""
        self._failure = error
        self._retry_at_s = time.monotonic() + (self._retry_s or 0.0)
        what = "ended, the session goes on" if self._retry_s is None else "is tried again later"
        logger.error("%s; the recording %s", error, what)
        with suppress(OutputError):
            self._close_file()
        self._on_file(None)
        self._on_failure(str(error))

    def _is_due(self) -> bool:
        """Tell whether a recording that failed is to be tried again now."""
        return self._retry_s is not None and time.monotonic() >= self._retry_at_s

    def _write(self, frame: Frame, stamp_s: float, captured_at: float) -> None:
        assert frame.info is not None
        key = (format_key(frame.info), self._audio.header, self._rotation_number(captured_at))
        if self._file is not None:
            with output_errors(self._file.path):
                for packet in self._audio.pop_until(stamp_s):
                    self._file.writer.write_audio(packet)
            # After the audio, whose last packets belong to the file that ends.
            if self._file.key != key:
                self._close_file()
        if self._file is None:
            self._file = self._open_file(frame.info, captured_at, key)
        with output_errors(self._file.path):
            self._file.writer.write_frame(frame, stamp_s)

    def _check_first_file(self) -> None:
        """Check the file that would start now; a later one may have another name."""
        path = _file_name(self._pattern, datetime.now().astimezone())
        if path.suffix.lower() not in MUXER_BY_SUFFIX:
            raise OutputError(
                f"{path}: has no extension to record to; use one of {', '.join(MUXER_BY_SUFFIX)}"
            )
        _make_dated_folder(path, self._pattern)
        is_dated = "%" in self._pattern  # then a number is appended to a name that is taken
        overwrite = is_dated or self._encode.overwrite
        check_target(path, self._inputs, overwrite=overwrite, renamed=False)
        check_encoding(self._encode, MUXER_BY_SUFFIX[path.suffix.lower()])

    def _rotation_number(self, captured_at: float) -> int:
        """Number the rotation intervals, in local time; 0 without rotation."""
        if self._rotate_s is None:
            return 0
        # In local time, so that a daily file starts at midnight where the camera is.
        offset = datetime.fromtimestamp(captured_at).astimezone().utcoffset()
        local_s = captured_at + (offset.total_seconds() if offset is not None else 0)
        return int(local_s // self._rotate_s)

    def _open_file(
        self, info: FrameFormat, captured_at: float, key: tuple[object, ...]
    ) -> _OpenFile:
        wanted = _file_name(self._pattern, datetime.fromtimestamp(captured_at).astimezone())
        _make_dated_folder(wanted, self._pattern)
        # Without a date in the name, a second file of this session must not replace the first.
        may_replace = wanted not in self.files and wanted not in self._inputs
        overwrite = self._encode.overwrite and may_replace
        path = _create_file(wanted, overwrite=overwrite)
        muxer = MUXER_BY_SUFFIX[path.suffix.lower()]
        try:
            with output_errors(path):
                writer = LiveWriter(
                    f"file:{path}",
                    muxer,
                    info,
                    self._encode,
                    container_options=GROWING_FILE_OPTIONS[muxer],
                    audio=self._audio.header,
                    creation_time=captured_at,
                )
        except OutputError:
            path.unlink(missing_ok=True)  # empty; a retry would leave another one
            raise
        self.files.append(path)
        self._failure = None
        logger.info("recording to %s", path)
        self._on_file(path)
        return _OpenFile(path, writer, key)

    def _close_file(self) -> None:
        file = self._file
        self._file = None
        if file is not None:
            with output_errors(file.path):
                file.close()


class _OpenFile:
    """A file being written, and the thread that syncs it to disk."""

    def __init__(self, path: Path, writer: LiveWriter, key: tuple[object, ...]) -> None:
        self.path = path
        self.writer = writer
        self.key = key
        """Format, audio and rotation number of its frames; a change starts another file."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Complete the file, then sync it once more."""
        with ExitStack() as stack:
            stack.callback(self._thread.join)
            stack.callback(self._done.set)
            self.writer.close()

    def _sync(self) -> None:
        with suppress(OSError), self.path.open("rb+") as file:
            while not self._done.wait(SYNC_S):
                os.fsync(file.fileno())
            os.fsync(file.fileno())


def _file_name(pattern: str, moment: datetime) -> Path:
    try:
        return Path(moment.strftime(pattern)) if "%" in pattern else Path(pattern)
    except ValueError as error:
        raise OptionError(
            f"record: {pattern!r} is not a date pattern ({error}); use codes such as %Y%m%d"
        ) from error


def _make_dated_folder(path: Path, pattern: str) -> None:
    """Create the file's folder if its name contains a date: users cannot do so in advance."""
    if "%" in str(Path(pattern).parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be created: {error.strerror}") from error


def _create_file(wanted: Path, *, overwrite: bool) -> Path:
    """Create an empty file, with a number appended if the name is taken."""
    for number in range(1, 10_000):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            path.open("wb" if overwrite and number == 1 else "xb").close()
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        return path
    raise OutputError(f"{wanted}: too many files have this name; empty the folder")
