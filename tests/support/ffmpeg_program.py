"""The ffmpeg program, which makes clips that PyAV cannot and judges files that were written.

It is a build of its own, usually of another version than the FFmpeg inside PyAV. Tests that use it
are marked `needs_ffmpeg`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

VIDEO = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.8")
"""Input options of twenty frames."""
TONE = ("-f", "lavfi", "-i", "sine=duration=0.8:sample_rate=48000")
"""Input options of as much audio."""


def ffmpeg(*words: str | Path) -> bytes:
    """Run ffmpeg with these arguments, overwriting; return what it writes to stdout."""
    return _run("ffmpeg", "-v", "error", "-y", *words)


def make(target: Path, *words: str | Path) -> Path:
    """Run ffmpeg with these arguments and this target; return the target."""
    ffmpeg(*words, target)
    return target


def probe(path: Path, *words: str) -> dict[str, Any]:
    """Return ffprobe's answer as JSON."""
    found: dict[str, Any] = json.loads(_run("ffprobe", "-v", "error", "-of", "json", *words, path))
    return found


def frame_times(path: Path) -> list[float]:
    """Decode the video; return each frame's best-effort time in seconds."""
    words = ("-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time")
    found = probe(path, *words)["frames"]
    return [float(each.get("best_effort_timestamp_time", "nan")) for each in found]


def packet_times(path: Path, stream: str) -> list[float]:
    """Return the times of a stream's packets in seconds, such as those of `a:0`."""
    words = ("-select_streams", stream, "-show_entries", "packet=pts_time,dts_time")
    found = probe(path, *words)["packets"]
    return [float(each.get("pts_time", each.get("dts_time", "nan"))) for each in found]


def codecs(path: Path) -> list[str]:
    """Return each stream's codec, in order."""
    streams = probe(path, "-show_entries", "stream=codec_name")["streams"]
    return [each.get("codec_name", "none") for each in streams]


def decoded_audio(path: Path, stream: int = 0) -> bytes:
    """Decode a stream of audio to signed 16-bit samples."""
    return ffmpeg("-i", path, "-map", f"0:a:{stream}", "-f", "s16le", "-")


def rgb(path: Path) -> bytes:
    """Decode the first frame to packed RGB by the file's tags, as a player shows it."""
    words = ("-vf", "scale=flags=accurate_rnd+full_chroma_int,format=rgb24")
    return ffmpeg("-i", path, *words, "-frames:v", "1", "-f", "rawvideo", "-")


def _run(*words: str | Path) -> bytes:
    done = subprocess.run([str(word) for word in words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
