"""Record a live stream, and check that its audio is in sync; then record onto a full disk.

    python -m benchmarks.live_record --json benchmarks/results/live_record.json
    python -m benchmarks.live_record --full-disk /mnt/small

An MPEG transport stream of H.264 and AAC comes over UDP from this machine and is recorded to MP4
for a minute with the packaged network. Its frames and tones tell their time, so the recording shows
by how much audio and video are apart, beside the stream's own figure. `--full-disk` names a folder
with room for a few MB; without it, the second part is left out. Needs the ffmpeg program.
"""

import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import click

from benchmarks.reports import describe_machine, write_json
from tests.support.ffmpeg_program import probe
from tests.support.in_sync import make_ramps, measure_offsets_s, send_over_udp
from tests.support.programs import Program

CLIP_S = 20
LIMIT_S = 0.1
"""Largest distance of audio and video that counts as in sync."""
FRAMES_AFTER = 25
NOISE = "lavfi:testsrc2=size=320x240:rate=25,noise=alls=60:allf=t"
"""A source whose recording soon fills a disk."""


def record_over_udp(folder: Path, seconds: int, target: str, *words: str) -> dict[str, Any]:
    """Record a stream, and measure by how much its audio is late.

    Args:
        folder: for the files.
        seconds: length of the recording.
        target: name of the recording.
        words: further arguments of `lfdn-video live`.

    Raises:
        click.ClickException: the program failed.
    """
    clip = make_ramps(folder / "in.ts", CLIP_S)
    with send_over_udp(clip) as address:
        command = ["live", address, "--record", str(folder / target), "--no-window"]
        command += ["--duration", f"{seconds}s", *words]
        program = [sys.executable, "-m", "lfdn_video", *command]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(done.stderr)
    streams = probe(folder / target, "-show_streams", "-count_packets")["streams"]
    return {
        "seconds": seconds,
        "target": target,
        "summary": done.stderr.splitlines()[-1].partition(": ")[2],
        "codecs": [each["codec_name"] for each in streams],
        "packets": [int(each["nb_read_packets"]) for each in streams],
        "source_audio_late_s": _summarize(measure_offsets_s(clip)),
        "audio_late_s": _summarize(measure_offsets_s(folder / target)),
    }


def record_until_full(target: Path) -> dict[str, Any]:
    """Record to a disk that has no room, and observe page and session afterwards.

    Args:
        target: the recording; the disk below it becomes full.

    Returns:
        The error on the page, the metric, the frames before and after it, and the end.
    """
    port = _free_tcp_port()
    words = ("--record", target, "--overwrite", "--no-window", "--web", f"127.0.0.1:{port}")
    with tempfile.TemporaryDirectory() as folder, Program(Path(folder), NOISE, *words) as program:
        failed = next(each for each in program.statuses() if each["recording_error"])
        later = program.wait_for_frames(failed["frames_out"] + FRAMES_AFTER)
        with urlopen(f"http://127.0.0.1:{port}/healthz") as page:
            health = json.load(page)
        with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            metrics = page.read().decode()
        exit_code, _ = program.stop(signal.SIGINT)
    metric = [line for line in metrics.splitlines() if line.startswith("lfdn_video_recording_f")]
    return {
        "recording_error": health["recording_error"].partition(": ")[2],
        "metric": metric,
        "state_afterwards": health["state"],
        "frames_when_full": failed["frames_out"],
        "frames_later": later["frames_out"],
        "exit_code": exit_code,
    }


def _summarize(offsets_s: Sequence[float]) -> dict[str, float]:
    return {
        "tones": len(offsets_s),
        "median": round(median(offsets_s), 3),
        "least": round(min(offsets_s), 3),
        "most": round(max(offsets_s), 3),
    }


def _free_tcp_port() -> int:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        return int(finder.getsockname()[1])


@click.command()
@click.option("--seconds", default=60, show_default=True, help="Length of the recording.")
@click.option(
    "--full-disk",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder on a file system with room for a few MB, which is filled.",
)
@click.option("--json", "report", type=click.Path(path_type=Path), help="JSON file to write.")
def main(seconds: int, full_disk: Path | None, report: Path | None) -> None:
    """Record a live stream, and check that its audio is in sync."""
    with tempfile.TemporaryDirectory() as folder:
        result = {"udp": record_over_udp(Path(folder), seconds, "out.mp4")}
    late = result["udp"]["audio_late_s"]
    good = late["tones"] > 1 and max(abs(late["least"]), abs(late["most"])) < LIMIT_S
    if full_disk is not None:
        target = full_disk / "out.mkv"
        result["full_disk"] = record_until_full(target)
        target.unlink()
        good &= result["full_disk"]["frames_later"] > result["full_disk"]["frames_when_full"]
    result["machine"] = describe_machine()
    click.echo(json.dumps(result, indent=2))
    write_json(report, result)
    if not good:
        raise click.ClickException("audio is out of sync, or a full disk ended the session")


if __name__ == "__main__":
    main()
