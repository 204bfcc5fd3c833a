"""`lfdn-video doctor`: checks of this installation, the last of which restores a clip.

Checks are yielded one by one, so that a slow one does not delay the others. They do not raise.
`tables.py` prints them.
"""

import platform
from collections.abc import Generator, Sequence
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import av
import numpy as np
from av.video.frame import VideoFrame

import lfdn
from lfdn.weights import file_sha256, find_packaged
from lfdn_video.checks import Check
from lfdn_video.cli.foresight import foresee_run
from lfdn_video.cli.formatting import format_duration
from lfdn_video.errors import LfdnVideoError
from lfdn_video.inference.devices import DeviceInfo, list_devices
from lfdn_video.input.open import open_reader
from lfdn_video.options import Task
from lfdn_video.output.encoder import list_encoders, try_encoder
from lfdn_video.pipeline import restore

PACKAGES = ("torch", "av", "numpy", "opencv-python", "kornia", "safetensors", "Pillow", "rich")
REQUIRED_ENCODERS = ("libx264",)
OPTIONAL_ENCODERS = ("libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1")
CUDA_ENCODERS = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
TASKS: tuple[Task, ...] = get_args(Task)
EXTRAS = {
    "openvino": (("openvino",), "--precision bfloat16, int8"),
    "web": (("aiohttp", "prometheus_client", "psutil"), "live --web"),
    "report": (("jinja2", "matplotlib"), "report, demo, --report, curves of lfdn train"),
    "tensorboard": (("tensorboard",), "lfdn train --tensorboard"),
    "watch": (("watchfiles",), "--watch"),
    "ray": (("ray",), "--cluster"),
}
"""The optional parts: their modules, and what they are for."""
SPEED_SIZE = (640, 360)
SPEED_FRAMES = 250
SPEED_S = 3.0
CLIP_HEIGHT_PX = 64
CLIP_WIDTH_PX = 96
CLIP_TIMES = (0, 40, 80, 120, 200, 240, 250, 290)
"""Timestamps of the clip's frames in milliseconds: a variable frame rate, on purpose."""


def examine() -> Generator[Check]:
    """Yield every check; later ones rely on earlier ones."""
    yield _check_versions()
    devices = list_devices()
    yield from _check_devices(devices)
    yield _check_encoders(cuda=devices[0].name.startswith("cuda"))
    for task in TASKS:
        yield _check_weights(task)
    yield _check_extras()
    yield _restore_clip()
    yield _measure_speed()


def try_encoders() -> Generator[Check]:
    """Open every video encoder that FFmpeg names, and yield the results."""
    for name in list_encoders():
        problem = try_encoder(name)
        text = av.Codec(name, "w").long_name if problem is None else problem
        yield Check(name, "ok" if problem is None else "warning", text)


def _check_versions() -> Check:
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("versions", "ok", f"lfdn-video {_version('lfdn-video')}, {system}, {packages}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a source tree, or installed without metadata
        return "(unknown)"


def _check_extras() -> Check:
    """Say which optional parts are installed."""
    texts = []
    for extra, (modules, use) in EXTRAS.items():
        missing = any(find_spec(module) is None for module in modules)
        how = f"missing, for {use}: pip install 'lfdn-video[{extra}]'" if missing else "installed"
        texts.append(f"{extra} {how}")
    return Check("extras", "ok", "; ".join(texts))


def _check_devices(found: tuple[DeviceInfo, ...]) -> Generator[Check]:
    for number, device in enumerate(found):
        chosen = "; used by default" if number == 0 else ""
        yield Check("device", "ok", f"{device.name}: {device.description}{chosen}")
    if len(found) == 1:
        yield Check("device", "warning", "no usable GPU found; the CPU is used")


def _check_encoders(*, cuda: bool) -> Check:
    missing = [name for name in REQUIRED_ENCODERS if not _has_encoder(name)]
    wanted = REQUIRED_ENCODERS + OPTIONAL_ENCODERS + (CUDA_ENCODERS if cuda else ())
    present = [name for name in wanted if _has_encoder(name)]
    if missing:
        text = f"PyAV has no {', '.join(missing)}; install its wheel: pip install av"
        return Check("encoders", "failed", text)
    return Check("encoders", "ok", ", ".join(present))


def _has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


def _check_weights(task: str) -> Check:
    if task not in lfdn.available():
        text = f"{task}: no weights ship with this version; pass --weights"
        return Check("weights", "failed" if task == "derain" else "warning", text)
    path, expected = find_packaged(task)
    if not path.is_file():
        return Check("weights", "failed", f"{task}: {path} is missing; reinstall lfdn-video")
    if file_sha256(path) != expected:
        return Check("weights", "failed", f"{task}: {path} was modified; reinstall lfdn-video")
    return Check("weights", "ok", f"{task}: sha256 {expected[:12]}…, {path}")


def _restore_clip() -> Check:
    """Restore a generated clip and check that every frame keeps its timestamp."""
    tasks = [task for task in TASKS if task in lfdn.available()]
    if not tasks:
        return Check("self-test", "failed", "no weights to restore a clip with")
    try:
        with TemporaryDirectory(prefix="lfdn-video-") as name:
            source, target = Path(name, "clip.mkv"), Path(name, "restored.mkv")
            make_clip(source)
            summary = restore(source, target, task=tasks[0])
            expected = _frame_times(source)
            found = _frame_times(target)
    except LfdnVideoError as error:
        return Check("self-test", "failed", str(error))
    if found != expected:
        text = f"{len(expected)} frames in, {len(found)} out, or timestamps differ"
        return Check("self-test", "failed", text)
    text = f"{tasks[0]}: {len(found)} frames restored in {summary.seconds:.1f} s, timestamps kept"
    return Check("self-test", "ok", text)


def _measure_speed() -> Check:
    """Restore a clip of a common size for a few seconds, as a run does."""
    try:
        with TemporaryDirectory(prefix="lfdn-video-") as name:
            source = Path(name, "clip.mkv")
            make_clip(source, size=SPEED_SIZE, times=tuple(range(0, SPEED_FRAMES * 40, 40)))
            seen = foresee_run(source, SPEED_S)
    except LfdnVideoError as error:
        return Check("speed", "warning", str(error))
    minute = format_duration(60 * 25 / seen.fps) if seen.fps > 0 else "very long"
    return Check(
        "speed",
        "ok",
        f"{seen.fps:.2f} fps for {SPEED_SIZE[0]}×{SPEED_SIZE[1]} on {seen.device} in "
        f"{seen.precision}, encoding included: a minute at 25 fps takes {minute}; more by bench",
    )


def make_clip(
    path: Path,
    *,
    size: tuple[int, int] = (CLIP_WIDTH_PX, CLIP_HEIGHT_PX),
    times: Sequence[int] = CLIP_TIMES,
) -> None:
    """Write a lossless clip of a moving grey ramp.

    Args:
        path: the file to write; its extension names a container that holds FFV1 (`.mkv`).
        size: width and height in px.
        times: timestamps of its frames in milliseconds.
    """
    width, height = size
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height = height
        stream.width = width
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        ramp = np.arange(width) + np.arange(height * 3 // 2)[:, None]
        for number, time_ms in enumerate(times):
            planes = (ramp + 8 * number).astype(np.uint8)
            frame = VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = time_ms
            frame.time_base = stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frame_times(path: Path) -> list[Fraction]:
    with open_reader(path) as reader:
        return [frame.pts * reader.info.time_base for frame in reader.frames()]
