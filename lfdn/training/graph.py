"""One training step as a CUDA graph: captured once, then launched by a single call.

A step launches some two thousand kernels, which takes the CPU longer than the GPU needs to run
them. On a CPU, or where capturing fails, the same step runs launch by launch.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 3
"""Before capturing: PyTorch and its libraries set up their workspaces in the first steps."""

logger = logging.getLogger(__name__)


class StepGraph:
    """A training step for batches of one shape.

    Args:
        compute: The step: (degraded, target) to a tensor of figures. It must read nothing back to
            the CPU, and change nothing in place but `changed`.
        parameters: Their gradients are dropped before each step.
        changed: The tensors that `compute` changes in place. They are as before after capturing.
        shape: Of a batch, `[B, 3, H, W]`.
        device: Of the batch.
    """

    def __init__(
        self,
        compute: Callable[[Tensor, Tensor], Tensor],
        parameters: Sequence[nn.Parameter],
        changed: Sequence[Tensor],
        shape: tuple[int, int, int, int],
        device: torch.device,
    ) -> None:
        self._compute = compute
        self._parameters = parameters
        self.shape = shape
        layout = torch.channels_last
        self._degraded = torch.full(shape, 0.5, device=device).contiguous(memory_format=layout)
        self._target = self._degraded.clone()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._figures = torch.empty(0)
        if device.type == "cuda":
            self._degraded.uniform_()
            self._target.copy_(self._degraded)
            with torch.cuda.device(device):
                self._capture(changed)

    @property
    def is_captured(self) -> bool:
        """True if steps are replayed from a graph."""
        return self._graph is not None

    def run(self, degraded: Tensor, target: Tensor) -> Tensor:
        """Run the step on a batch.

        Args:
            degraded: Network input, of the shape.
            target: The truth, of the shape.

        Returns:
            The figures that the step computed; the next call may overwrite them.
        """
        self._degraded.copy_(degraded)
        self._target.copy_(target)
        if self._graph is None:
            self._drop_gradients()
            self._figures = self._compute(self._degraded, self._target)
        else:
            self._graph.replay()
        return self._figures

    def release(self) -> None:
        """Give up the graph and its memory; a graph of another shape may follow."""
        self._graph = None
        self._figures = torch.empty(0)
        self._drop_gradients()

    def _capture(self, changed: Sequence[Tensor]) -> None:
        kept = [tensor.detach().clone() for tensor in changed]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self._drop_gradients()
                self._compute(self._degraded, self._target)
        torch.cuda.current_stream().wait_stream(stream)
        self._drop_gradients()  # they must come from the graph's own memory
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._figures = self._compute(self._degraded, self._target)
            self._graph = graph
        except RuntimeError as error:
            torch.cuda.synchronize()
            self._drop_gradients()
            reason = str(error).strip().splitlines()[0]
            logger.warning("no CUDA graph, slower: %s", reason)
        with torch.no_grad():
            for tensor, before in zip(changed, kept, strict=True):
                tensor.copy_(before)

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None


def prepare_device(device: torch.device) -> None:
    """Let cuDNN measure its algorithms, and matrix products use TF32; nothing on a CPU."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.allow_tf32 = True


def has_room(device: torch.device, size: int) -> bool:
    """Return True if `size` bytes leave more than half of a GPU's free memory; True on a CPU."""
    return device.type != "cuda" or size < torch.cuda.mem_get_info(device)[0] // 2
