"""How fast an engine is: a short measurement, for `doctor`."""

import time
from collections import deque

import torch
from torch import Tensor

from lfdn_video.inference.engine import Engine
from lfdn_video.inference.runner import Future

WARM_UP_BATCHES = 4
MIN_BATCHES = 3


def measure_frames_per_second(
    engine: Engine, *, height: int = 720, width: int = 1280, seconds: float = 0.5
) -> float:
    """Measure the network alone, one frame a batch, as many in flight as in a run.

    Args:
        engine: the engine; nothing else may use it meanwhile.
        height: height of a frame in px.
        width: width of a frame in px.
        seconds: how long to measure, after a few batches to warm up.

    Returns:
        Frames per second, without decoding, colours and encoding.

    Raises:
        DeviceMemoryError: the device ran out of memory.
        WeightsError: the network's output is not finite.
    """
    with engine.compute_context():
        frame = torch.rand(1, 3, height, width, device=engine.device)
    pending: deque[Future[Tensor]] = deque()

    def run_until(end: float, least: int) -> int:
        count = 0
        while count < least or time.perf_counter() < end:
            pending.append(engine.compute_residual(frame))
            count += 1
            if len(pending) > engine.max_batches_in_flight:
                pending.popleft().result()
        while pending:
            pending.popleft().result()
        return count

    run_until(0, WARM_UP_BATCHES)
    began = time.perf_counter()
    count = run_until(began + seconds, MIN_BATCHES)
    return count / (time.perf_counter() - began)
