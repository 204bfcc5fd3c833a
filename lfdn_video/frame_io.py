"""The two seams of a run: the base classes of frame sources and of frame targets.

    FrameReader     input/reader.py    a video          input/images.py    images
    FrameWriter     output/writer.py   a video          output/images.py   images

`pipeline.py` and `verify.py` use these two classes and know nothing of their subclasses. To add a
kind of source or target, write a subclass and choose it in `open_reader` or `open_writer`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lfdn_video.copying import CopyPlan
from lfdn_video.media import Frame, Image, VideoInfo
from lfdn_video.options import SpanOptions

logger = logging.getLogger(__name__)


class Warnings(list[str]):
    """Messages for the user about a source or target, each kept and logged once."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: set[str] = set()

    def add(self, subject: str | Path, note: str, *, once: bool = False) -> None:
        """Keep and log `subject: note`, unless this subject has that note already.

        Args:
            subject: what the note is about, as a rule a file.
            note: what is wrong with it.
            once: skip the note if any subject has it: a folder may hold thousands of similar
                images.
        """
        warning = f"{subject}: {note}"
        # A list keeps the order for the summary; it is short, as every warning is there once.
        if warning in self or (once and note in self._notes):
            return
        self._notes.add(note)
        self.append(warning)
        logger.warning("%s", warning)


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFrame:
    """A restored frame as an RGB array."""

    image: Image
    """`[H, W, 3]`, RGB, 0…255, upright; the caller owns it."""
    time_s: float
    """Presentation time in seconds, as in the source."""
    pts: int
    """Presentation timestamp, in ticks of the source's time base."""


class FrameReader(ABC):
    """A source of frames. A context manager, open from its construction until it is left.

    The counters grow while `frames` is read.
    """

    info: VideoInfo
    """Description of the source, known before its frames are read."""
    span: SpanOptions
    """The part of the source that `frames` yields."""
    consecutive = True
    """The frames follow each other in time, as those of a video do."""

    def __init__(self) -> None:
        self.warnings = Warnings()
        """Messages for the user about the source, in the order of discovery."""
        self.corrupt_packets = 0
        """Packets, or images, that could not be decoded."""
        self.repeated_frames = 0
        """Frames that repeat the one before, in place of one that could not be decoded."""
        self.dropped_frames: Counter[str] = Counter()
        """Number of frames that are not yielded, by reason."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read, which no writer may replace."""
        return (self.info.path,)

    @abstractmethod
    def frames(self) -> Generator[Frame]:
        """Yield the frames of the span in order of presentation, pts strictly increasing.

        Each call reads from the start. Close the generator when leaving it early: it holds the
        file, and a decoder's threads.

        Raises:
            InputError: no frame can be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what is held open outside `frames`. Safe to call again."""


class FrameWriter(ABC):
    """A target for frames. A context manager: entering opens it, leaving completes it.

        with open_writer(target, reader.info) as writer:
            for frame in frames:
                writer.write(frame)

    If an exception leaves the block, nothing of the target remains. A subclass implements
    `open`, `write`, `complete` and `clean_up`; callers use the block and `write`.
    """

    resumable = False
    """True if what is finished outlasts a failure of the run."""
    segment_frames: int | None = None
    """Frames of each segment, if parts of the source may be written apart; None: they may not."""
    audits = False
    """True if `complete` decodes every frame of the target."""

    def __init__(self) -> None:
        self.warnings = Warnings()
        """Everything of the source that is not in the target unchanged, by name."""
        self.frames_written = 0
        """Frames in the target, including those of a resumed run, and copied ones."""
        self.copy_problem: str | None = None
        """Why packets of the source cannot be copied into this target; None: they can."""

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
            error = late  # a failure to complete keeps frames, too
            raise
        finally:
            self.clean_up()
            if error is not None and self.kept_frames:
                error.add_note(f"{self.kept_frames} frames are kept; resume the run")
            elif self.resumable and self.segment_frames and isinstance(error, KeyboardInterrupt):
                first = f"the first {self.segment_frames} frames were not done yet"
                error.add_note(f"nothing was written: {first}")

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
        """Check that everything can be written, before the first frame is restored.

        An `open` that fails leaves nothing behind; `clean_up` is not called after it.

        Raises:
            OutputError: the target cannot be written.
            OptionError: the encoder or the container refuses the request.
        """

    def start(self, network: Mapping[str, str]) -> int:  # noqa: ARG002
        """Resume an interrupted run, if there is one to resume.

        Args:
            network: what the restored frames depend on (`Runner.identity`).

        Returns:
            The number of frames that are finished already and must not be written again; 0 without
            an interrupted run.

        Raises:
            OutputError: those frames were restored by another network.
        """
        return 0

    @property
    def plan(self) -> CopyPlan | None:
        """The segments that are copied, as `set_plan` or an interrupted run set them."""
        return None

    def set_plan(self, plan: CopyPlan) -> None:
        """Set which segments are copied, where `copy_problem` is None; before the first frame.

        Raises:
            OutputError: it cannot be written beside the target.
        """
        raise NotImplementedError

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Encode the next frame.

        Args:
            frame: its pts must be above the last one's.

        Raises:
            OutputError: the frame cannot be written, for instance because the disk is full.
        """

    @abstractmethod
    def complete(self) -> None:
        """Complete the target and rename it into place. Called if the block ends without an error.

        Raises:
            OutputError: there was no frame, or the target cannot be completed.
        """

    @abstractmethod
    def clean_up(self) -> None:
        """Release everything and remove what is not complete. Called last, after success too."""
