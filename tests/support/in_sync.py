"""A stream whose frames and tones tell their time, and how far apart the two are in a recording.

Every four seconds the picture goes from black to white, and a tone sounds at the beginning: each
frame tells its time, however many others were dropped. The ffmpeg program makes the stream,
and decodes it for the measurement.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.ffmpeg_program import ffmpeg, frame_times, make, probe

Floats = NDArray[np.floating]

RATE_HZ = 8000
WINDOW = 40
"""Samples of audio that are judged together: 5 ms."""
PERIOD_S = 4
TONE_S = 0.2
LOUD = 0.1


def make_ramps(target: Path, seconds: int) -> Path:
    """Write a transport stream of H.264 and AAC."""
    light = f"color=black:size=160x96:rate=25:duration={seconds},format=yuv420p"
    light += f",geq=lum='16+219*mod(T/{PERIOD_S},1)':cb=128:cr=128"
    tone = (
        f"aevalsrc='if(lt(mod(t,{PERIOD_S}),{TONE_S}),0.5*sin(2*PI*1000*t),0)':s=48000:d={seconds}"
    )
    inputs = ("-f", "lavfi", "-i", light, "-f", "lavfi", "-i", tone)
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25")
    return make(target, *inputs, *video, "-c:a", "aac", "-f", "mpegts")


def free_udp_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as finder:
        finder.bind(("127.0.0.1", 0))
        return int(finder.getsockname()[1])


@contextmanager
def send_over_udp(clip: Path) -> Generator[str]:
    """Send a transport stream in real time, over and over; yield its address."""
    address = f"udp://127.0.0.1:{free_udp_port()}"
    words = ("-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "mpegts")
    command = ["ffmpeg", "-v", "quiet", "-re", *words, f"{address}?pkt_size=1316"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as sender:
        try:
            yield address
        finally:
            sender.kill()


def measure_offsets_s(path: Path) -> list[float]:
    """Decode a file; return by how many seconds each tone is later than the picture."""
    times, phases = _read_pictures(path)
    offsets = []
    for tone_s in _find_tones_s(path):
        near = np.abs(times - tone_s) < PERIOD_S / 2
        # The end of a period and its beginning are close together.
        apart = ((times[near] - tone_s) / PERIOD_S - phases[near] + 0.5) % 1 - 0.5
        if near.any():
            offsets.append(-float(np.median(apart)) * PERIOD_S)
    return offsets


def _read_pictures(path: Path) -> tuple[Floats, Floats]:
    """Return each frame's time from the start of the file, and the share of a period it shows."""
    start = probe(path, "-show_entries", "format=start_time")["format"]["start_time"]
    times = np.array(frame_times(path)) - float(start)
    words = ("-vf", "scale=1:1,format=gray", "-vsync", "0", "-f", "rawvideo", "-")
    shown = np.frombuffer(ffmpeg("-i", path, "-an", *words), np.uint8) / 255
    count = min(times.size, shown.size)
    return times[:count], shown[:count]


def _find_tones_s(path: Path) -> list[float]:
    # Silence fills gaps and the time before the first sample, so the number of a sample is a time.
    words = (
        "-vn",
        "-af",
        f"aresample={RATE_HZ}:async=1:min_hard_comp=0.005:first_pts=0",
        "-ac",
        "1",
        "-f",
        "f32le",
    )
    samples = np.frombuffer(ffmpeg("-i", path, *words, "-"), np.float32)
    windows = samples[: samples.size // WINDOW * WINDOW].reshape(-1, WINDOW)
    loud = np.sqrt((windows**2).mean(axis=1)) > LOUD
    quiet_before = ~loud[:-1] & loud[1:]
    return [float(number + 1) * WINDOW / RATE_HZ for number in np.flatnonzero(quiet_before)]
