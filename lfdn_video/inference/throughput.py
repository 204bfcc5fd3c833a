"""How fast a network is on this machine, by device, precision and network: no file, no encoder."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from lfdn.config import NetworkName
from lfdn_video.errors import OptionError
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.devices import choose_precision, list_devices
from lfdn_video.inference.engine import is_packaged
from lfdn_video.inference.runner import Runner
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Colour, Frame, PixelFormat, VideoInfo
from lfdn_video.options import InferenceOptions, ResolvedPrecision, Task

WARM_UP_FRAMES = 2
"""Frames that are not measured: buffers are allocated, and kernels chosen."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run the network on this machine."""

    device: str
    """Name of the device, such as `cuda:0`."""
    precision: ResolvedPrecision
    """Precision of the network."""
    network: NetworkName
    """Which network."""

    @property
    def inference(self) -> InferenceOptions:
        """The options that run it."""
        return InferenceOptions(device=self.device, precision=self.precision, network=self.network)


def list_candidates(task: Task) -> list[Candidate]:
    """List the ways to run a task's packaged networks here, the default one first.

    Args:
        task: `derain` or `deblur`.

    Returns:
        Every device with each precision that it has and each network that ships for the task.
    """
    networks: list[NetworkName] = [name for name in ("full", "lite") if is_packaged(task, name)]
    return [
        Candidate(device.name, precision, network)
        for device in list_devices()
        for network in networks
        for precision in _list_precisions(torch.device(device.name))
    ]


def measure_fps(
    frames: Sequence[Frame], info: VideoInfo, runner: Runner, *, seconds: float
) -> float:
    """Measure how many frames a second go from planes to restored planes.

    Lanes finish together, so whole turns of them are counted: of few frames one more or less would
    decide.

    Args:
        frames: decoded frames, used again and again; at least one.
        info: their source.
        runner: runs the network; it stays open.
        seconds: how long to measure at least, above 0, after the first frames.

    Returns:
        Frames per second.

    Raises:
        DeviceMemoryError: the device's memory does not suffice.
    """
    converter = PlaneConverter(info)
    done = measured = 0
    began_s = elapsed_s = 0.0
    with closing(restore_frames(_repeat(frames), converter, runner)) as restored:
        for _ in restored:
            done += 1
            now_s = time.perf_counter()
            lanes = max(1, runner.max_batches_in_flight)
            if done <= max(WARM_UP_FRAMES, lanes):
                began_s = now_s
                continue
            measured += 1
            elapsed_s = now_s - began_s
            if elapsed_s >= seconds and measured % lanes == 0:
                break
    return measured / elapsed_s


def draw_source(width: int, height: int, count: int) -> tuple[VideoInfo, list[Frame]]:
    """Draw frames of noise, for want of a clip; their content does not change the speed.

    Args:
        width: width in px.
        height: height in px.
        count: number of frames.

    Returns:
        The description of a source that does not exist, and its frames, in 8-bit 4:2:0.
    """
    info = VideoInfo(
        path=Path("noise"),
        container="",
        codec="",
        width=width,
        height=height,
        format=PixelFormat.parse("yuv420p"),
        source_format="yuv420p",
        colour=Colour(),
        time_base=Fraction(1, 25),
    )
    noise = np.random.default_rng(0)
    shapes = info.format.plane_shapes(height, width)
    planes = [
        tuple(noise.integers(0, 255, shape, np.uint8) for shape in shapes) for _ in range(count)
    ]
    return info, [Frame(each, info.format, pts, 1) for pts, each in enumerate(planes)]


def _repeat(frames: Sequence[Frame]) -> Generator[Frame]:
    yield from cycle(frames)


def _list_precisions(device: torch.device) -> list[ResolvedPrecision]:
    """List the precisions of a device, the one that `auto` chooses first."""
    default = choose_precision("auto", device)
    found = [default]
    for precision in get_args(ResolvedPrecision):
        try:
            if choose_precision(precision, device) != default:
                found.append(precision)
        except OptionError:
            continue
    return found
