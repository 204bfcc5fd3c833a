"""A network on a device, ready to run: loading it, and falling back to the CPU.

    Engine ──▶ cpu.CpuRunner, cuda.CudaRunner or mps.MpsRunner

Runs `lfdn`. Knows tensors and planes, nothing of tiles, frames or files. `scheduler.py` decides
what to run when; it knows an engine only as a `runner.Runner`.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

import lfdn
from lfdn.config import NetworkName
from lfdn.cpu import optimize_for_cpu
from lfdn.cuda import CudaLFDN, optimize_for_cuda
from lfdn.int8 import load_quantized
from lfdn.openvino_form import OpenVinoLFDN, OpenVinoMissingError, run_in_bfloat16
from lfdn.weights import (
    file_sha256,
    find_packaged,
    find_packaged_int8,
    name_network,
    name_packaged,
    read_header,
)
from lfdn_video.errors import DeviceError, OptionError, WeightsError
from lfdn_video.inference.cpu import CpuRunner
from lfdn_video.inference.cuda import CudaRunner
from lfdn_video.inference.device_runner import DeviceRunner, Model
from lfdn_video.inference.devices import choose_device, choose_precision
from lfdn_video.inference.mps import MpsRunner
from lfdn_video.inference.runner import Future, RunnerWrapper
from lfdn_video.options import InferenceOptions, Network, ResolvedPrecision, Task

SIZES_A_STREAM = 2
"""Image sizes of a live stream at a time: its scale goes up and down by one."""

MAX_LANES = 4
"""Default limit on the frames that run at a time on a CPU."""

_process: int | None = None
"""The process that loaded a network, by its number; None: none has."""

logger = logging.getLogger(__name__)


class Engine(RunnerWrapper):
    """One network on one device; falls back to the CPU if a GPU's memory does not suffice.

    A `Runner`, and a context manager that closes it. Used by one thread at a time.

    Args:
        model: any function with the contract of `lfdn.LFDN`, or a module, which is moved to the
            device and put in eval mode.
        device: the device to run it on; None: the CPU.
        precision: the precision to run it in.
        model_id: identifies the model, such as the digest of its weights.
        lanes: on a CPU, the largest number of frames to run at a time; see `CpuRunner`.
        task: what the model does, part of `identity`: only with `derain`, or None, which leaves it
            to the run, do neighbouring frames serve to remove rain.
        streams: the number of streams of other sizes or formats that take turns; see `CudaRunner`.

    Raises:
        DeviceMemoryError: there is too little memory for the weights.
    """

    _runner: DeviceRunner

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device | None = None,
        precision: ResolvedPrecision = "float32",
        model_id: str = "",
        lanes: int = 1,
        task: str | None = None,
        streams: int = 1,
    ) -> None:
        self._model = model
        self._task = task
        self._model_id = model_id
        device = device or torch.device("cpu")
        runner: DeviceRunner
        if device.type == "cuda":
            runner = CudaRunner(
                model, device, precision=precision, model_id=model_id, streams=streams
            )
        elif device.type == "mps":
            runner = MpsRunner(model, device, precision=precision, model_id=model_id)
        else:
            runner = CpuRunner(model, precision=precision, model_id=model_id, lanes=lanes)
        super().__init__(runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> Mapping[str, str]:
        task = {} if self._task is None else {"task": self._task}
        return {**self._runner.identity, **task}

    @property
    def device(self) -> torch.device:
        """The device in use now."""
        return self._runner.device

    @property
    def precision(self) -> ResolvedPrecision:
        """The precision in use now."""
        return self._runner.precision

    @property
    def redone_batches(self) -> int:
        """Number of batches that overflowed in half precision and were run again in float32."""
        return self._runner.redone_batches

    def compute_residual(self, batch: Tensor) -> Future[Tensor]:
        """Run the network on a batch that is on the device already.

        Args:
            batch: RGB `[B, 3, H, W]`, float32, in 0…1.

        Returns:
            A future of the residual, restored minus input: same shape, float32, in -1…1, on the
            device.

        Raises:
            DeviceMemoryError: the device ran out of memory. Raised here or by `result()`.
            WeightsError: the output is not finite, even in float32. By `result()` only.
        """
        return self.submit(_ResidualJob(batch))

    def step_down(self) -> str | None:
        """Use less memory: by the device's own step first, then on the CPU in float32."""
        if (how := self._runner.step_down()) is not None:
            return how
        if isinstance(self._runner, CpuRunner):
            return None
        # Closed first: the buffers have to be free before more memory is asked for.
        redone_batches = self._runner.redone_batches
        self._runner.close()
        if isinstance(self._model, CudaLFDN):
            self._model = optimize_for_cpu(self._model.network.cpu())
        self._runner = CpuRunner(self._model, model_id=self._model_id)
        self._runner.redone_batches = redone_batches
        return "on the CPU"


def load_engine(
    task: Task,
    *,
    weights: Path | None = None,
    options: InferenceOptions | None = None,
    lanes: int = MAX_LANES,
    streams: int = 1,
    threads: int | None = None,
) -> Engine:
    """Load a network onto a device.

    Args:
        task: `derain` or `deblur`; chooses the packaged weights.
        weights: a file of weights to use instead of the packaged ones.
        options: network, device and precision; other fields are ignored. None: the defaults.
        lanes: on a CPU, the largest number of frames to run at a time, 1 or more. More lanes have a
            higher throughput; 1 has the shortest latency, for live streams and single images.
        streams: the number of live streams that take turns at it.
        threads: PyTorch's threads on a CPU; None: as many as it has in this thread.

    Returns:
        An engine; the caller closes it or uses it as a context manager.

    Raises:
        DeviceError: this machine has no such device, its memory is too small for the weights, or
            this process was forked from one that had loaded a network.
        OptionError: the precision does not suit the device, or needs OpenVINO, which is missing; or
            the weights file holds another network.
        WeightsError: there are no weights for this task, or the file cannot be read.
    """
    global _process
    refuse_after_fork()
    _process = os.getpid()
    options = options or InferenceOptions()
    if threads is not None:
        torch.set_num_threads(threads)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    try:
        source = _choose_weights(task, weights, options.network)
        model = _load_network(source, device, precision, streams)
        about = read_header(source if isinstance(source, Path) else find_packaged(source)[0])
    except lfdn.WeightsError as error:
        raise WeightsError(str(error)) from error
    except OpenVinoMissingError as error:
        raise OptionError(f"precision: {precision}: {error}") from error
    if about["task"] != task:
        logger.warning("%s: was trained to %s but is used to %s", weights, about["task"], task)
    logger.info("the network runs on %s in %s", device, precision)
    return Engine(
        model,
        device=device,
        precision=precision,
        model_id=about["digest"],
        lanes=lanes,
        task=task,
        streams=streams,
    )


def identify_weights(task: str, weights: Path | None, network: Network) -> str:
    """Identify the weights that `load_engine` would load, without loading them.

    Args:
        task: `derain` or `deblur`.
        weights: a file of weights; None: the packaged ones.
        network: the network asked for.

    Returns:
        The SHA-256 of their file, in hexadecimal.

    Raises:
        WeightsError: there are no such weights, or the file cannot be read.
        OptionError: the file holds another network.
    """
    try:
        source = _choose_weights(task, weights, network)
        return file_sha256(source) if isinstance(source, Path) else find_packaged(source)[1]
    except lfdn.WeightsError as error:
        raise WeightsError(str(error)) from error
    except FileNotFoundError as error:
        raise WeightsError(f"{weights}: no such weight file; check the path") from error
    except OSError as error:
        raise WeightsError(
            f"{weights}: cannot be read: {error.strerror}; check the path"
        ) from error


def is_packaged(task: str, network: NetworkName) -> bool:
    """Tell whether weights of this task and network ship with the package."""
    return name_packaged(task, network) in lfdn.available()


def has_packaged_int8(task: str, network: NetworkName) -> bool:
    """Tell whether the 8-bit form of these weights ships with the package, too."""
    try:
        find_packaged_int8(name_packaged(task, network))
    except lfdn.WeightsError:
        return False
    return True


def _choose_weights(task: str, weights: Path | None, network: Network) -> str | Path:
    """Choose the file, or the name of packaged weights, that holds the network asked for."""
    if weights is None:
        return name_packaged(task, "full" if network == "auto" else network)
    if network != "auto" and (found := name_network(weights)) != network:
        raise OptionError(
            f"network: {weights} holds {f'the network {found}' if found else 'another network'}, "
            f"not {network}; leave the option out"
        )
    return weights


def refuse_after_fork() -> None:
    """Refuse to run a network in a process forked from one that had loaded one.

    A fork copies torch's locks and not its threads, so the network would wait for ever.

    Raises:
        DeviceError: this is such a process.
    """
    if _process is not None and _process != os.getpid():
        raise DeviceError(
            "fork: the network was loaded before this process was forked, and would hang; start "
            'processes with multiprocessing.get_context("spawn"), or load it in them alone'
        )


def _load_network(
    task_or_path: str | Path, device: torch.device, precision: ResolvedPrecision, streams: int
) -> torch.nn.Module:
    """Load the form of the network that is fastest on the device."""
    network = _load_form(task_or_path, device, precision)
    if isinstance(network, OpenVinoLFDN):
        network.most_sizes = max(network.most_sizes, SIZES_A_STREAM * streams)
    return network


def _load_form(
    task_or_path: str | Path, device: torch.device, precision: ResolvedPrecision
) -> torch.nn.Module:
    if precision == "int8":
        return load_quantized(task_or_path)
    network = lfdn.load(task_or_path)
    if device.type == "cuda":
        return optimize_for_cuda(network)
    if device.type == "cpu" and precision == "float32":
        return optimize_for_cpu(network)
    if device.type == "cpu" and precision == "bfloat16":
        return run_in_bfloat16(network)
    return network


@dataclass(frozen=True, slots=True)
class _ResidualJob:
    """A `Job` with a ready batch, whose result is the residual itself."""

    batch: Tensor

    @property
    def height(self) -> int:
        return self.batch.shape[2]

    @property
    def width(self) -> int:
        return self.batch.shape[3]

    def make_batch(self) -> Tensor:
        return self.batch

    def consume(self, residual: Tensor, /) -> Tensor:
        return residual
