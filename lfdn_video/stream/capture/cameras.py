"""Lists the cameras of this machine, and opens one with FFmpeg or OpenCV.

FFmpeg has a device format for each system. If its build lacks the format, or opening fails, OpenCV
is the fallback: it often opens cameras that FFmpeg cannot. Used by `grabber.py` and by `live
--list`.
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
"""FFmpeg's device format by `sys.platform`."""

LINUX_CAMERAS = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that is plugged in."""

    number: int
    """Number for `live --camera`."""
    name: str
    """Name given by the maker, for display."""
    device: str
    """Name given by the system, such as `/dev/video0`."""


def list_cameras() -> list[Camera]:
    """List the cameras of this machine by number; empty if none can be found."""
    device_format = DEVICE_FORMATS.get(_system())
    if device_format == "v4l2":
        return _linux_cameras(LINUX_CAMERAS)
    try:
        found = av.enumerate_input_devices(device_format or "")
    except (ValueError, FFmpegError):  # no such format in this build, or it cannot list
        return []
    videos = [one for one in found if not one.media_types or "video" in one.media_types]
    return [Camera(number, one.description, one.name) for number, one in enumerate(videos)]


def find_ffmpeg_device(camera: str) -> tuple[str, str] | None:
    """Find the FFmpeg device of a camera.

    Args:
        camera: a number, or a device as the system names it.

    Returns:
        FFmpeg's device format and device name; None if the system has no device format or, on
        Windows, no camera of that number.
    """
    device_format = DEVICE_FORMATS.get(_system())
    if device_format is None:
        return None
    if not camera.isdecimal():
        return device_format, camera
    if device_format == "v4l2":
        return device_format, f"/dev/video{camera}"
    if device_format == "avfoundation":
        return device_format, f"{camera}:none"
    found = list_cameras()
    if int(camera) >= len(found):
        return None
    return device_format, f"video={found[int(camera)].name}"


def read_opencv_frames(camera: str) -> Generator[VideoFrame]:
    """Read a camera with OpenCV; closing the generator releases it.

    Args:
        camera: a number, or a device as the system names it.

    Yields:
        Frames in `bgr24`, without timestamps, in real time.

    Raises:
        InputError: the camera cannot be opened, or delivers no more frames.
    """
    capture = cv2.VideoCapture(int(camera) if camera.isdecimal() else camera)
    try:
        if not capture.isOpened():
            raise InputError(f"camera {camera}: cannot be opened{_advice()}")
        while True:
            is_read, image = capture.read()
            if not is_read:
                raise InputError(f"camera {camera}: delivers no more frames; is it plugged in?")
            yield VideoFrame.from_ndarray(image.astype(np.uint8, copy=False), format="bgr24")
    finally:
        capture.release()


def _system() -> str:
    return sys.platform  # in a function; otherwise type checkers skip other systems' branches


def _advice() -> str:
    """Return the end of an error message, which lists the cameras."""
    names = [f"{one.number} ({one.name})" for one in list_cameras()]
    if not names:
        return "; no camera is connected; connect one, or give an address or a file"
    return f"; there is {', '.join(names)}"


def _linux_cameras(folder: Path) -> list[Camera]:
    found = []
    for node in folder.glob("video*"):
        with suppress(OSError, ValueError):
            number = int(node.name.removeprefix("video"))
            # A camera may have several nodes: the first one has its frames, others metadata.
            if (node / "index").read_text().strip() in ("", "0"):
                name = (node / "name").read_text(errors="replace").strip()
                found.append(Camera(number, name, f"/dev/{node.name}"))
    return sorted(found, key=lambda camera: camera.number)
