"""A real RTSP server for tests and benchmarks, which runs `rtsp_server.py`."""

import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import av
from PIL import Image

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
SAMPLE = Path(__file__).parents[2] / "samples" / "rainy_dashcam.mp4"
NEEDED = "GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0, python3-gi and plugins)"
TRIAL = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
needed = "multifilesrc", "jpegdec", "videoconvert", "x264enc", "rtph264pay"
raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in needed))
"""


def is_there() -> bool:
    """Look for what the server needs on this machine."""
    if shutil.which(SYSTEM_PYTHON) is None:
        return False
    trial = subprocess.run([SYSTEM_PYTHON, "-c", TRIAL], capture_output=True, check=False)
    return trial.returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Serves a rainy sample in a loop until it is killed. A context manager."""

    def __init__(self, folder: Path, *, login: str = "", received: str = "") -> None:
        """Prepare a server; entering starts it.

        Args:
            folder: for the frames it serves.
            login: `USER:PASSWORD` that clients must send.
            received: name of a file in `folder`. If given, the server writes what is pushed to it
                there, and serves nothing.
        """
        self._login = login
        self._port = free_port()
        self._pattern = folder / (received or "%05d.jpg")
        if received:
            return
        with av.open(str(SAMPLE)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                picture.save(str(self._pattern) % number, quality=90)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def address(self) -> str:
        login = f"{self._login}@" if self._login else ""
        return f"rtsp://{login}127.0.0.1:{self._port}/rain"

    def start(self) -> None:
        """Start the server and wait until it listens."""
        words = [SYSTEM_PYTHON, str(SCRIPT), str(self._pattern), str(self._port), self._login]
        self._process = subprocess.Popen(
            [word for word in words if word], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            with suppress(OSError):
                self._process.stdout.close()
