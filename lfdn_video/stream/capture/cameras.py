"""The cameras of this machine: which there are, and how FFmpeg and OpenCV call them.

FFmpeg has a device format for each system. Where its build lacks one, or fails, OpenCV is asked:
it often knows a camera that FFmpeg does not. Used by `grabber.py` and by `live --list`.
"""

import sys
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from lfdn_video.errors import InputError

DEVICE_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}

NAMES = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera: what to call it by in `live --camera`, and what its maker does."""

    number: int
    name: str
    device: str


def list_cameras() -> list[Camera]:
    """Those that this machine has, by their numbers."""
    kind = DEVICE_FORMATS.get(_system())
    if kind == "v4l2":
        return _linux_cameras(NAMES)
    try:
        found = av.enumerate_input_devices(kind or "")
    except (ValueError, FFmpegError):  # no such format here, or it cannot tell
        return []
    videos = [one for one in found if not one.media_types or "video" in one.media_types]
    return [Camera(number, one.description, one.name) for number, one in enumerate(videos)]


def find_ffmpeg_device(camera: str) -> tuple[str, str] | None:
    """The format and the name that FFmpeg opens a camera by; None if it cannot on this system."""
    kind = DEVICE_FORMATS.get(_system())
    if kind is None:
        return None
    if not camera.isdecimal():
        return kind, camera
    if kind == "v4l2":
        return kind, f"/dev/video{camera}"
    if kind == "avfoundation":
        return kind, f"{camera}:none"
    found = list_cameras()
    return (kind, f"video={found[int(camera)].name}") if int(camera) < len(found) else None


def read_opencv_frames(camera: str) -> Generator[VideoFrame]:
    """What OpenCV gets of a camera, as FFmpeg's frames. InputError if that is nothing."""
    capture = cv2.VideoCapture(int(camera) if camera.isdecimal() else camera)
    try:
        if not capture.isOpened():
            raise InputError(f"camera {camera}: cannot be opened{_advice()}")
        while True:
            good, picture = capture.read()
            if not good:
                raise InputError(f"camera {camera}: gives no pictures any more; is it plugged in?")
            yield VideoFrame.from_ndarray(picture.astype(np.uint8, copy=False), format="bgr24")
    finally:
        capture.release()


def _system() -> str:
    return sys.platform  # said like this, a type checker does not take its own for the only one


def _advice() -> str:
    names = [f"{one.number} ({one.name})" for one in list_cameras()]
    if not names:
        return ": this machine shows no camera; plug one in, or give an address or a file"
    return f"; there is {', '.join(names)}"


def _linux_cameras(names: Path) -> list[Camera]:
    found = []
    for folder in names.glob("video*"):
        with suppress(OSError, ValueError):
            number = int(folder.name.removeprefix("video"))
            # A camera may have several nodes; the first has the pictures, others its metadata.
            if (folder / "index").read_text().strip() in ("", "0"):
                name = (folder / "name").read_text(errors="replace").strip()
                found.append(Camera(number, name, f"/dev/{folder.name}"))
    return sorted(found, key=lambda camera: camera.number)
