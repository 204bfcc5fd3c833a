"""What to expect of a long run, said once, after its first seconds: its end, and what helps.

    1800 frames of 1920×1080 on cpu in float32, 0.8 fps: done at 16:42, in 37:30
    faster here: --precision int8; --network lite, less thorough
    Ctrl-C stops it; the same command with --resume goes on

`Foresight` watches the progress of a run and makes an `Estimate`; `formatting.py` makes the text.
`foresee_run` starts a run and ends it after a few seconds, for `probe` and `doctor`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lfdn_video.options import DEFAULT_CODEC, EncodeOptions, InferenceOptions

if TYPE_CHECKING:
    from lfdn_video.options import Task
    from lfdn_video.progress import Progress, Stage

MEASURED_S = 10.0
"""Seconds of a run from which the rest is estimated."""
MEASURED_FRAMES = 8
"""Frames that are needed for that; a slow run is foreseen later."""
LONG_S = 60.0
"""A run that takes longer is foreseen."""

FORESEE_S = 4.0
"""Seconds of a run that is ended early (`foresee_run`)."""

LIGHTER_PRESETS = {"libx264": "veryfast", "libx265": "veryfast", "libsvtav1": "10"}
"""A preset that takes a fraction of the time of our default, by encoder."""
LIGHT_PRESETS = {"ultrafast", "superfast", "veryfast", "10", "11", "12", "13"}
PLAIN_SUFFIXES = {".mp4", ".mkv", ".mov", ".m4v", ".ts"}
"""Of targets that are encoded by `DEFAULT_CODEC`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected of a run."""

    frames_total: int
    """Frames of the target."""
    size: tuple[int, int] | None
    """Width and height of a frame in px; None: unknown."""
    device: str
    """Where the network runs; empty: unknown."""
    precision: str
    """The network's precision; empty: unknown."""
    fps: float
    """Frames per second of the first seconds."""
    seconds: float
    """Seconds from the first frame to the finished target."""
    done_at: float
    """When it will be finished, in seconds since the epoch."""
    bottleneck: "Stage"
    """The stage that the others wait for."""
    faster: tuple[str, ...]
    """Options that would take less time on this machine, the best first."""
    resumable: bool
    """True if an interrupted run can be continued by `--resume`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The choices of a run that decide how long it takes."""

    task: "Task"
    """What is restored."""
    target: str
    """Name of the target."""
    has_own_weights: bool = False
    """The weights are the user's."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """Device, precision and network."""
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    """Codec and preset."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a run would take, by its beginning."""

    seconds: float | None
    """Seconds from the loaded network to the finished target; None: unknown."""
    fps: float
    """Frames per second, decoding and encoding included."""
    device: str
    """Where the network runs."""
    precision: str
    """Its precision."""


class Foresight:
    """Passes the progress of a run on, and an estimate when there is one.

    Args:
        setting: the run's choices; None: nothing is known that would make it faster.
        on_progress: receives every state of the run.
        on_estimate: receives the estimate, once, if the run is a long one.
    """

    def __init__(
        self,
        setting: Setting | None,
        on_progress: "Callable[[Progress], None]",
        on_estimate: Callable[[Estimate], None],
    ) -> None:
        self._setting = setting
        self._on_progress = on_progress
        self._on_estimate = on_estimate
        self._is_done = False

    def __call__(self, progress: "Progress") -> None:
        """Report the progress of a run; called for every frame."""
        restored = progress.fps * progress.elapsed_s
        is_enough = progress.elapsed_s >= MEASURED_S and restored >= MEASURED_FRAMES
        if not self._is_done and is_enough and progress.eta_s is not None:
            self._is_done = True
            if progress.elapsed_s + progress.eta_s > LONG_S:
                self._on_estimate(estimate(progress, self._setting))
        self._on_progress(progress)


def estimate(progress: "Progress", setting: Setting | None) -> Estimate:
    """Estimate how long a run takes.

    Args:
        progress: its state, with a total and the time left.
        setting: its choices; None: nothing is known that would make it faster.

    Returns:
        The estimate.
    """
    assert progress.frames_total is not None
    assert progress.eta_s is not None
    return Estimate(
        frames_total=progress.frames_total,
        size=progress.size,
        device=progress.device,
        precision=progress.precision,
        fps=progress.fps,
        seconds=progress.elapsed_s + progress.eta_s,
        done_at=time.time() + progress.eta_s,
        bottleneck=progress.bottleneck,
        faster=() if setting is None else tuple(_advise(progress, setting)),
        resumable=progress.resumable,
    )


def foresee_run(source: str | Path, seconds: float = FORESEE_S) -> Foreseen:
    """Restore the beginning of a source into a temporary file, to see what all of it would take.

    Args:
        source: a video, or images.
        seconds: how long to restore, after the first frame.

    Returns:
        What was measured; of all of it, if the source is shorter.

    Raises:
        LfdnVideoError: the source cannot be restored.
    """
    from lfdn_video.pipeline import restore

    seen: list[Progress] = []

    def stop_soon(progress: "Progress") -> None:
        seen.append(progress)
        if progress.elapsed_s >= seconds and progress.eta_s is not None:
            raise _EnoughError

    suffix = Path(source).suffix
    with TemporaryDirectory(prefix="lfdn-video-") as folder:
        target = Path(folder, f"target{suffix if suffix.lower() == '.mp4' else '.mkv'}")
        is_whole = True
        try:
            restore(source, target, on_progress=stop_soon)
        except _EnoughError:
            is_whole = False
    last = seen[-1]
    left_s = 0.0 if is_whole else last.eta_s
    total_s = None if left_s is None else last.elapsed_s + left_s
    return Foreseen(total_s, last.fps, last.device, last.precision)


def _advise(progress: "Progress", setting: Setting) -> list[str]:
    """List the options that relieve the bottleneck here."""
    if progress.bottleneck == "encode":
        return _advise_encoder(setting)
    if progress.bottleneck == "temporal":
        return ["--temporal off, less thorough"]
    if progress.bottleneck == "decode":
        return []
    return _advise_network(progress, setting)


def _advise_encoder(setting: Setting) -> list[str]:
    options = setting.encode
    is_plain = Path(setting.target).suffix.lower() in PLAIN_SUFFIXES
    codec = options.codec or (DEFAULT_CODEC if is_plain else "")
    lighter = LIGHTER_PRESETS.get(codec)
    if lighter is None or options.preset in LIGHT_PRESETS:
        return []
    return [f"--preset {lighter}, for a larger file"]


def _advise_network(progress: "Progress", setting: Setting) -> list[str]:
    from lfdn_video.inference.devices import choose_device, is_fastest_in_bfloat16, list_devices
    from lfdn_video.inference.engine import has_packaged_int8, is_packaged

    advice = []
    on_cpu = progress.device == "cpu"
    best = list_devices()[0].name
    if on_cpu and best != "cpu":
        advice.append(f"--device {best}")
    if setting.has_own_weights:  # whether they have another form is their owner's affair
        return advice
    is_lite = setting.inference.network == "lite"
    is_int8 = progress.precision == "int8"
    if on_cpu and is_fastest_in_bfloat16(choose_device("cpu")):  # and more exact than int8
        advice += ["--precision bfloat16"] * (progress.precision != "bfloat16")
    elif on_cpu and not is_int8 and has_packaged_int8(setting.task, "lite" if is_lite else "full"):
        missing = "" if find_spec("openvino") else " after pip install 'lfdn-video[openvino]'"
        advice.append(f"--precision int8{missing}")
    if not is_lite and is_packaged(setting.task, "lite"):
        without = is_int8 and not has_packaged_int8(setting.task, "lite")
        precision = " with --precision auto" if without else ""
        advice.append(f"--network lite{precision}, less thorough")
    return advice


class _EnoughError(Exception):
    """Ends a run that has been seen for long enough."""
