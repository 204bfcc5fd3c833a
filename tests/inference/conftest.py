"""What tests of the code for CUDA share."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from lfdn_video.inference import transfers


@dataclass
class FakeEvent:
    """An event that writes down how it is used; the copies of `fake_cuda` are done at once."""

    log: list[str] = field(default_factory=list)

    def record(self, stream: object, /) -> None:
        self.log.append("record")

    def wait(self, stream: object, /) -> None:
        self.log.append("wait")

    def synchronize(self) -> None:
        self.log.append("synchronize")


class FakeStream:
    """A stream that has nothing to do."""

    def wait_stream(self, other: object) -> None: ...

    def synchronize(self) -> None: ...


def allocate_buffer(size_bytes: int) -> Tensor:
    """Memory like that of a pinned slot, not pinned."""
    return torch.empty(size_bytes, dtype=torch.uint8)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> list[FakeEvent]:
    """Let the code for CUDA run on the CPU; the list has the events it makes."""
    events: list[FakeEvent] = []

    def new_event() -> FakeEvent:
        events.append(FakeEvent())
        return events[-1]

    monkeypatch.setattr(transfers, "_new_stream", lambda _: FakeStream())
    monkeypatch.setattr(transfers, "_new_event", new_event)
    monkeypatch.setattr(transfers, "_allocate_pinned", allocate_buffer)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    return events
