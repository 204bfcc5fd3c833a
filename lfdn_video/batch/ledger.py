"""What came of each file: entered in the manifest, kept for the summary, told to the listener."""

from dataclasses import replace
from typing import Any

from lfdn_video.batch.items import Item
from lfdn_video.batch.manifest import Entry, Manifest
from lfdn_video.batch.plan import Skip, Tell
from lfdn_video.batch.values import BatchListener, FileResult, State
from lfdn_video.pipeline import Summary


class Ledger:
    """The results of a run.

    Args:
        manifest: the open manifest of the target folder.
        listener: is told of each result.
    """

    def __init__(self, manifest: Manifest, listener: BatchListener) -> None:
        self._manifest = manifest
        self._listener = listener
        self._results: dict[str, FileResult] = {}
        """By source, since a watched file may come again; in the order in which they ended."""

    @property
    def results(self) -> tuple[FileResult, ...]:
        """The last result of each file."""
        return tuple(self._results.values())

    @property
    def ended(self) -> int:
        """Number of files that have a result."""
        return len(self._results)

    @property
    def failed(self) -> int:
        """Number of them that failed."""
        return sum(result.state == "failed" for result in self._results.values())

    def reopen(self, item: Item) -> None:
        """Forget the result of an item that is to be restored again."""
        self._results.pop(str(item.source), None)

    def settle(self, item: Item, decision: Skip | Tell, *, earlier: bool) -> None:
        """Enter an item for which there is nothing to do.

        Args:
            item: the item.
            decision: why.
            earlier: an earlier run's result stands.
        """
        if isinstance(decision, Tell):
            self._add(item, "failed", message=decision.message, earlier=earlier)
            return
        if decision.entry != self._manifest.entries.get(item.key):
            self._manifest.record(decision.entry)
        self._add(item, "finished", earlier=earlier)

    def finish(self, item: Item, started: Entry, summary: Summary) -> None:
        """Enter an item that is restored; `started` is its entry until now."""
        done = replace(
            started,
            state="restored",
            frames=summary.frames,
            seconds=round(summary.seconds, 3),
            warnings=list(summary.warnings),
        )
        self._manifest.record(done)
        self._add(
            item,
            "restored",
            frames=summary.frames,
            kept_frames=summary.kept_frames,
            seconds=summary.seconds,
            warnings=summary.warnings,
        )

    def fail(self, item: Item, started: Entry, kind: str, message: str, seconds: float) -> None:
        """Enter an item whose restoration failed.

        Args:
            item: the item.
            started: its entry until now.
            kind: name of the error's class.
            message: why, in one line.
            seconds: time spent on it.
        """
        rounded = round(seconds, 3)
        failed = replace(started, state="failed", message=message, kind=kind, seconds=rounded)
        self._manifest.record(failed)
        self._add(item, "failed", message=message, seconds=seconds)

    def refuse(self, item: Item, message: str) -> None:
        """Enter an item that was not begun; the next run looks at it again."""
        self._add(item, "failed", message=message)

    def _add(self, item: Item, state: State, **values: Any) -> None:
        target = self._manifest.folder / item.key
        result = FileResult(source=item.source, target=target, state=state, **values)
        self._results[str(item.source)] = result
        self._listener.file_ended(result)
