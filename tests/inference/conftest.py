"""Fixtures for tests of the CUDA code."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from lfdn_video.inference import cuda, transfers
from tests.support.recording import FakeRecorder


@dataclass
class FakeEvent:
    """An event that records its calls; the copies of `fake_cuda` are synchronous."""

    log: list[str] = field(default_factory=list)

    def record(self, stream: object, /) -> None:
        self.log.append("record")

    def wait(self, stream: object, /) -> None:
        self.log.append("wait")

    def synchronize(self) -> None:
        self.log.append("synchronize")


class FakeStream:
    """A stream that does nothing."""

    def wait_stream(self, other: object) -> None: ...

    def synchronize(self) -> None: ...


def allocate_buffer(size_bytes: int) -> Tensor:
    """Allocate memory like that of a pinned slot, but not pinned."""
    return torch.empty(size_bytes, dtype=torch.uint8)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> list[FakeEvent]:
    """Let the CUDA code run on the CPU; the list collects its events."""
    events: list[FakeEvent] = []

    def new_event() -> FakeEvent:
        events.append(FakeEvent())
        return events[-1]

    monkeypatch.setattr(transfers, "_new_stream", lambda _: FakeStream())
    monkeypatch.setattr(transfers, "_new_event", new_event)
    monkeypatch.setattr(transfers, "_allocate_pinned", allocate_buffer)
    monkeypatch.setattr(cuda, "_new_recorder", lambda *_: FakeRecorder())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    return events
