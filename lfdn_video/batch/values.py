"""Values of a batch: how each file is restored, what came of it, and how far the run is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from lfdn_video.errors import OptionError
from lfdn_video.options import (
    NO_BLUR,
    EncodeOptions,
    InferenceOptions,
    SpanOptions,
    Task,
    Temporal,
)
from lfdn_video.progress import Progress

State = Literal["restored", "finished", "failed"]
"""`finished`: by an earlier run."""

MOST_JOBS = 64

LOCAL = "local"
"""Address that stands for processes of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How every file of a batch is restored; the fields are those of `pipeline.restore`.

    Raises:
        OptionError: `only_when_needed` is for `derain` alone.
    """

    task: Task = "derain"
    """`derain` or `deblur`; chooses the packaged weights."""
    weights: Path | None = None
    """Weights file; None: the packaged weights of the task."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """Device, precision, tiles and batch."""
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    """Encoding; `overwrite` replaces files that were made in another way, `resume` is always on."""
    span: SpanOptions = field(default_factory=SpanOptions)
    """Part of each source to restore."""
    deinterlace: bool = False
    """Deinterlace first."""
    temporal: Temporal = "auto"
    """Use of neighbouring frames."""
    only_when_needed: bool = False
    """Copy what is dry."""

    def __post_init__(self) -> None:
        if self.only_when_needed and self.task != "derain":
            raise OptionError(NO_BLUR)

    def encode_for(self, *, overwrite: bool, resume: bool) -> EncodeOptions:
        """Return the encoding of one file.

        Args:
            overwrite: its target may be replaced.
            resume: what an interrupted run left of it is used.
        """
        values = {each.name: getattr(self.encode, each.name) for each in fields(EncodeOptions)}
        return EncodeOptions(**values | {"overwrite": overwrite, "resume": resume})

    def describe(self, weights_digest: str) -> dict[str, Any]:
        """Return what the targets depend on, as JSON values by the names of the options.

        Args:
            weights_digest: SHA-256 of the weights file.
        """
        encode = {
            each.name: getattr(self.encode, each.name)
            for each in fields(self.encode)
            if each.name not in ("overwrite", "resume")
        }
        encode["frame_rate"] = self.encode.frame_rate and str(self.encode.frame_rate)
        encode["codec_options"] = dict(self.encode.codec_options)
        chosen = {
            "task": self.task,
            "weights": weights_digest,
            # Not the device: another machine may finish what this one began.
            "precision": self.inference.precision,
            "temporal": self.temporal,
            "deinterlace": self.deinterlace,
            "start": self.span.start_s,
            "end": self.span.end_s,
        }
        if self.only_when_needed:  # else as before there was a choice: targets stay finished
            chosen["only_when_needed"] = True
        return chosen | encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where the work of a batch is done in parts of about 250 frames, besides whole short videos.

    Raises:
        OptionError: a value is outside its range.
    """

    address: str
    """`local`: processes of this machine, without Ray. `auto`: the Ray cluster that this machine is
    in. Else the address of one: `ray://HOST:10001`, or `HOST:6379` on a machine that is in it."""
    cpus: int | None = None
    """Cores for each task, 1 or more; None: 4, or those of the smallest machine."""
    gpus: float | None = None
    """GPUs for each task, 0 or more; 0.5 puts two tasks on one. None: 1 if the cluster has any."""
    retries: int = 3
    """Times that a task is run again whose process or machine is lost, 0 or more."""

    def __post_init__(self) -> None:
        if not self.address:
            raise OptionError("cluster: the address is empty; use local, auto or ray://HOST:10001")
        if self.cpus is not None and self.cpus < 1:
            raise OptionError(f"task cpus: must be at least 1, got {self.cpus}")
        gpus = self.gpus or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise OptionError(f"task gpus: must be from 0 to 1, or a whole number, got {gpus:g}")
        if self.retries < 0:
            raise OptionError(f"retries: must not be negative, got {self.retries}")
        if self.address == LOCAL and (self.cpus, self.gpus) != (None, None):
            raise OptionError("task cpus, task gpus: are for a Ray cluster; use jobs, or leave out")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a batch runs.

    Raises:
        OptionError: a value is outside its range.
    """

    name: str = "{stem}.{ext}"
    """Name of a file's target; see `items.Template`."""
    jobs: Literal["auto"] | int = 1
    """Files restored at the same time, 1 or more; `auto`: as cores and memory allow."""
    retry: bool = False
    """Try files again that failed in an earlier run."""
    watch: bool = False
    """Go on with files that appear, until the run is stopped."""
    settle_s: float = 5.0
    """Seconds, 0 or more, for which a watched file must not change before it is taken."""
    cluster: ClusterOptions | None = None
    """Divide long videos, and let a cluster do the work; None: whole files, on this machine."""

    def __post_init__(self) -> None:
        if isinstance(self.jobs, int):
            if not 1 <= self.jobs <= MOST_JOBS:
                raise OptionError(f"jobs: must be from 1 to {MOST_JOBS}, got {self.jobs}")
        elif self.jobs != "auto":
            raise OptionError(f"jobs: {self.jobs!r} is neither auto nor a number")
        if self.settle_s < 0:
            raise OptionError(f"settle: must not be negative, got {self.settle_s:g} s")
        if self.cluster is not None and self.cluster.address != LOCAL and self.jobs != 1:
            raise OptionError("jobs: the cluster decides how many run at a time; leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What came of one file, or of one folder of numbered images."""

    source: Path
    """The source."""
    target: Path
    """The target, whether or not it is there."""
    state: State
    """`restored` by this run, `finished` by an earlier one, or `failed`."""
    message: str = ""
    """Why it failed, in one line; empty otherwise."""
    earlier: bool = False
    """It failed in an earlier run, and this one did not try again."""
    frames: int = 0
    """Frames in the target, if this run restored it."""
    kept_frames: int = 0
    """Frames, of `frames`, that an interrupted run had finished."""
    seconds: float = 0.0
    """Seconds that this run spent on it."""
    warnings: tuple[str, ...] = ()
    """What was corrupt or not carried over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """The end of a batch."""

    folder: Path
    """The target folder."""
    files: tuple[FileResult, ...]
    """Every file, in the order in which they ended."""
    seconds: float
    """Seconds that the run took."""
    stopped: str = ""
    """Why the run ended before its last file, in one line; empty: it did not."""

    def count(self, state: State) -> int:
        """Count the files of a state."""
        return sum(result.state == state for result in self.files)

    @property
    def frames(self) -> int:
        """Frames that this run restored."""
        return sum(result.frames - result.kept_frames for result in self.files)

    @property
    def failed_earlier(self) -> int:
        """Number of the failed files that this run did not try again."""
        return sum(result.state == "failed" and result.earlier for result in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How far a batch is."""

    files_done: int
    """Files that ended, those of earlier runs included."""
    files_total: int
    """Files known so far."""
    files_failed: int
    """Files, of `files_done`, that failed."""
    share: float
    """Part of this run's bytes that is restored, 0…1."""
    elapsed_s: float
    """Seconds since the first file of this run."""
    eta_s: float | None
    """Estimated seconds until the last file, from the sizes of the files; None: unknown yet."""
    current: Mapping[Path, Progress]
    """The state of each file that is being restored, by source."""


class BatchListener:
    """Hears of what happens in a batch; every method does nothing. Derive from it."""

    def batch_started(self, folder: Path, total: int, left: int) -> None:
        """`left` of `total` files have to be restored into `folder`."""

    def file_started(self, source: Path, target: Path) -> None:
        """A file is begun."""

    def file_ended(self, result: FileResult) -> None:
        """A file has ended, or an earlier run's result stands."""

    def progressed(self, progress: BatchProgress) -> None:
        """Called a few times a second."""

    def noted(self, message: str) -> None:
        """Something that the user may want to know, once each."""
