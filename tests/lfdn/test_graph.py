"""The discipline of capturing a step, with a fake of CUDA: what happens in which order."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lfdn.training import graph as graphs
from lfdn.training.graph import WARM_UP_STEPS, StepGraph

CPU = torch.device("cpu")


class Step:
    """A step of gradient descent, and what happens around it."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(3))
        self.events: list[str] = []

    def compute(self, degraded: Tensor, target: Tensor) -> Tensor:
        self.events.append("step" if self.weight.grad is None else "step on old gradients")
        loss = ((degraded - target).mean() + self.weight.square().sum()).square()
        loss.backward()  # type: ignore[no-untyped-call]
        assert self.weight.grad is not None
        with torch.no_grad():
            self.weight.sub_(0.01 * self.weight.grad)
        return loss.detach()


@pytest.fixture
def step() -> Step:
    return Step()


def fake_cuda(step: Step, error: Exception | None = None) -> SimpleNamespace:
    class Stream:
        def wait_stream(self, _: "Stream") -> None:
            step.events.append("wait")

    class Graph:
        def replay(self) -> None:
            step.events.append("replay")

    @contextmanager
    def capture(_: Graph) -> Iterator[None]:
        step.events.append("capture")
        yield
        if error is not None:
            raise error

    return SimpleNamespace(
        Stream=Stream,
        CUDAGraph=Graph,
        current_stream=Stream,
        stream=lambda _: nullcontext(),
        graph=capture,
        synchronize=lambda: step.events.append("synchronize"),
    )


def build(step: Step, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> StepGraph:
    built = StepGraph(step.compute, [step.weight], [step.weight], (2, 3, 8, 8), CPU)
    monkeypatch.setattr(
        graphs, "torch", SimpleNamespace(cuda=fake_cuda(step, error), no_grad=torch.no_grad)
    )
    built._capture([step.weight])
    return built


def test_step_is_captured_after_a_warm_up_with_fresh_gradients(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(step, monkeypatch)
    assert built.is_captured
    assert step.events == ["wait", *["step"] * WARM_UP_STEPS, "wait", "capture", "step"]
    assert step.weight.tolist() == [1, 1, 1]


def test_captured_step_is_replayed_on_its_own_batch(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(step, monkeypatch)
    step.events.clear()
    gradient = step.weight.grad
    built.run(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    assert step.events == ["replay"]
    assert (built._degraded.mean().item(), built._target.mean().item()) == (1, 0)
    assert step.weight.grad is gradient  # it is in the graph's memory


def test_step_runs_without_a_graph_if_capturing_fails(
    step: Step, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        built = build(step, monkeypatch, RuntimeError("not permitted\nwhen capturing"))
    assert caplog.messages == ["no CUDA graph, slower: not permitted"]
    assert not built.is_captured
    assert step.weight.tolist() == [1, 1, 1]
    step.events.clear()
    built.run(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    assert step.events == ["step"]
    assert step.weight.max() < 1
