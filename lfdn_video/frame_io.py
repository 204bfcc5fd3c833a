"""The two seams of a run: what frames come from, and what they go into.

    FrameReader     input/reader.py    a video          input/images.py    pictures
    FrameWriter     output/writer.py   a video          output/images.py   pictures

`pipeline.py` and `verify.py` know these two classes and nothing of what stands behind them. A new
kind of source or target is a subclass here and a line in `open_reader` or `open_writer`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from lfdn_video.media import Frame, VideoInfo

logger = logging.getLogger(__name__)


class Warnings(list[str]):
    """What a user should know about a run, each sentence once and logged as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: set[str] = set()

    def add(self, subject: str | Path, note: str, *, once: bool = False) -> None:
        """Keep and log `subject: note`, unless this subject has that note already.

        Args:
            subject: what the note is about, as a rule a file.
            note: what is wrong with it.
            once: leave the note out if any subject has it: a folder may hold thousands of images
                that are alike.
        """
        warning = f"{subject}: {note}"
        if warning in self or (once and note in self._notes):
            return
        self._notes.add(note)
        self.append(warning)
        logger.warning("%s", warning)


class FrameReader(ABC):
    """A source of frames, open from its construction until `close`. A context manager."""

    info: VideoInfo

    def __init__(self) -> None:
        self.warnings = Warnings()
        """What a user should know about the source, in the order it was noticed."""
        self.corrupt_packets = 0
        """Packets, or pictures, that could not be decoded."""
        self.repeated_frames = 0
        """Frames given once more in place of one that could not be decoded."""
        self.dropped_frames: Counter[str] = Counter()
        """Frames of the source that are not given, by reason."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def frames(self) -> Generator[Frame]:
        """Yield the frames in order of presentation, pts strictly increasing.

        Close the generator when leaving it early.
        """

    def close(self) -> None:
        """Release what is held open. Safe to call again."""


class FrameWriter(ABC):
    """A target for frames. A context manager: entering opens it, leaving completes it.

        with open_writer(target, reader.info) as writer:
            for frame in frames:
                writer.write(frame)

    When the block is left by an exception, whichever, nothing of the target remains. A subclass
    implements `open`, `write`, `complete` and `abandon`; callers use the block and `write`.
    """

    def __init__(self) -> None:
        self.warnings = Warnings()
        """Whatever of the source is not in the target unchanged, by name."""
        self.frames_written = 0
        """Frames in the target, with those that an interrupted run left."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.complete()
        except BaseException as late:
            error = late
            raise
        finally:
            self.abandon()
            if error is not None and self.kept_frames:
                error.add_note(f"{self.kept_frames} frames are kept; go on by resuming")

    @property
    @abstractmethod
    def target(self) -> Path:
        """The file, the folder, or the pattern that is written."""

    @property
    def kept_frames(self) -> int:
        """Number of frames that outlast a failure of the run, for the next one to resume."""
        return 0

    @abstractmethod
    def open(self) -> None:
        """Find out whether all of this can be written, before the first frame is made.

        An `open` that fails leaves nothing behind; `abandon` is not called after it.

        Raises:
            OutputError: the target cannot be written.
            OptionError: the encoder or the container refuses the request.
        """

    def start(self, network: Mapping[str, str]) -> int:  # noqa: ARG002
        """Take up what an interrupted run has left.

        Args:
            network: what the restored frames depend on (`Runner.identity`).

        Returns:
            The number of frames that are there already and are not to be written again; 0 where
            runs are not resumed.

        Raises:
            OutputError: those frames were restored by another network.
        """
        return 0

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Encode the next frame.

        Args:
            frame: its pts must be above the last one's.

        Raises:
            OutputError: it cannot be written, for instance because the disk is full.
        """

    @abstractmethod
    def complete(self) -> None:
        """Complete the target and give it its name. Called when the block is left without an error.

        Raises:
            OutputError: there was no frame, or the target cannot be completed.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Release everything, and remove what is not complete.

        Called last in any case, after success too.
        """
