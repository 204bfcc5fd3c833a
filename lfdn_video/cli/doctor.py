"""`lfdn-video doctor`: whether this installation can do its work, found out by doing it.

Checks come one by one, so that a slow one does not hide the others; none of them raises. Knows
nothing of how they are shown (`tables.py`).
"""

import platform
from collections.abc import Generator
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.video.frame import VideoFrame

import lfdn
from lfdn.weights import file_sha256, find_packaged
from lfdn_video.checks import Check
from lfdn_video.errors import LfdnVideoError
from lfdn_video.inference.engine import DeviceInfo, available_devices
from lfdn_video.input.reader import open_reader
from lfdn_video.pipeline import restore

PACKAGES = ("torch", "av", "numpy", "opencv-python", "kornia", "safetensors", "Pillow", "rich")
NEEDED_ENCODERS = ("libx264",)
WELCOME_ENCODERS = ("libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1")
CUDA_ENCODERS = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
TASKS = ("derain", "deblur")
CLIP_HEIGHT_PX, CLIP_WIDTH_PX = 64, 96
CLIP_TIMES = (0, 40, 80, 120, 200, 240, 250, 290)  # ms: a variable frame rate, on purpose


def examine() -> Generator[Check]:
    """Every check, in the order of what rests on what."""
    yield _versions()
    devices = available_devices()
    yield from _devices(devices)
    yield _encoders(cuda=devices[0].name.startswith("cuda"))
    for task in TASKS:
        yield _weights(task)
    yield _self_test()


def _versions() -> Check:
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("versions", "ok", f"lfdn-video {_version('lfdn-video')}, {system}, {packages}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree, or installed by other means
        return "(unknown)"


def _devices(found: tuple[DeviceInfo, ...]) -> Generator[Check]:
    for number, device in enumerate(found):
        chosen = "; used unless --device says otherwise" if number == 0 else ""
        yield Check("device", "ok", f"{device.name}: {device.description}{chosen}")
    if len(found) == 1:
        text = "no GPU can be used; the CPU does the work"
        yield Check("device", "warning", text)


def _encoders(*, cuda: bool) -> Check:
    missing = [name for name in NEEDED_ENCODERS if not _has_encoder(name)]
    wanted = NEEDED_ENCODERS + WELCOME_ENCODERS + (CUDA_ENCODERS if cuda else ())
    there = [name for name in wanted if _has_encoder(name)]
    if missing:
        text = f"PyAV comes without {', '.join(missing)}; install its wheel: pip install av"
        return Check("encoders", "failed", text)
    return Check("encoders", "ok", ", ".join(there))


def _has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


def _weights(task: str) -> Check:
    if task not in lfdn.available():
        text = f"{task}: none ship with this version; {task} needs --weights"
        return Check("weights", "failed" if task == "derain" else "warning", text)
    path, expected = find_packaged(task)
    if not path.is_file():
        return Check("weights", "failed", f"{task}: {path} is missing; install lfdn-video again")
    if file_sha256(path) != expected:
        return Check("weights", "failed", f"{task}: {path} was changed; install lfdn-video again")
    return Check("weights", "ok", f"{task}: sha256 {expected[:12]}…, {path}")


def _self_test() -> Check:
    """A clip made here goes through the network; every frame must come out at its time."""
    tasks = [task for task in TASKS if task in lfdn.available()]
    if not tasks:
        return Check("self-test", "failed", "there are no weights to restore a clip with")
    try:
        with TemporaryDirectory(prefix="lfdn-video-") as name:
            source, target = Path(name, "clip.mkv"), Path(name, "restored.mkv")
            make_clip(source)
            summary = restore(source, target, task=tasks[0])
            expected, found = _times(source), _times(target)
    except LfdnVideoError as error:
        return Check("self-test", "failed", str(error))
    if found != expected:
        text = f"{len(expected)} frames in, {len(found)} out, or at other times"
        return Check("self-test", "failed", text)
    text = f"{tasks[0]}: {len(found)} frames restored in {summary.seconds:.1f} s, times kept"
    return Check("self-test", "ok", text)


def make_clip(path: Path) -> None:
    """A grey ramp that moves, losslessly encoded, with frames at `CLIP_TIMES`."""
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = CLIP_HEIGHT_PX, CLIP_WIDTH_PX, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        across = np.arange(CLIP_WIDTH_PX) + np.arange(CLIP_HEIGHT_PX * 3 // 2)[:, None]
        for number, time_ms in enumerate(CLIP_TIMES):
            planes = (across + 8 * number).astype(np.uint8)
            frame = VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = time_ms, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _times(path: Path) -> list[Fraction]:
    with open_reader(path) as reader:
        return [frame.pts * reader.info.time_base for frame in reader.frames()]
