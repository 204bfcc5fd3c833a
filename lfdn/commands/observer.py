"""What follows a training run while it lasts: one class for all, and several as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lfdn.training.checkpoint import TrainingState
    from lfdn.training.figures import MetricsRow, StepsRow
    from lfdn.training.summary import RunSummary
    from lfdn.training.train import Callbacks


class Observer:
    """Does nothing; the base class. A context manager around the run.

    Its methods are those of `lfdn.training.train.Callbacks`. Several processes train one network:
    only the first of them calls any.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self, summary: RunSummary) -> None:
        """Follow the start: all images are read, no step is done."""

    def note_step(self, state: TrainingState) -> None:
        """Follow one or a few steps."""

    def note_row(self, row: StepsRow) -> None:
        """Follow a row of `steps.csv`."""

    def note_validation(self, done: int, total: int) -> None:
        """Follow a validation, pair by pair."""

    def note_metrics(self, row: MetricsRow) -> None:
        """Follow the end of a validation."""


def join_observers(observers: Sequence[Observer]) -> Callbacks:
    """Return callbacks that call all observers, one after the other."""

    def call(method: str) -> Callable[..., None]:
        def call_each(*values: Any) -> None:
            for observer in observers:
                getattr(observer, method)(*values)

        return call_each

    return {
        "on_start": call("begin"),
        "on_step": call("note_step"),
        "on_log": call("note_row"),
        "on_validation": call("note_validation"),
        "on_metrics": call("note_metrics"),
    }
