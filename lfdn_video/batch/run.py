"""`restore_many`: the loop of a batch.

    files ─ decide (plan.py) ─▶ queue ─▶ workers ─▶ results ─▶ manifest, listener

Nothing here loads the network or decodes: a worker does, so a bad file harms no other. The manifest
says "started" before a file is given to a worker, and what came of it after. A run that is killed
between the two is continued by the next one.
"""

import shutil
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lfdn_video.batch.division import Division
from lfdn_video.batch.items import Found, Item, Template, check_folder, find_items, list_images
from lfdn_video.batch.ledger import Ledger
from lfdn_video.batch.manifest import Entry, Manifest
from lfdn_video.batch.messages import Failed, Finished, Job, Progressed, Warned
from lfdn_video.batch.meter import Meter
from lfdn_video.batch.plan import PASSING, Restore, Wishes, decide
from lfdn_video.batch.pool import Pool
from lfdn_video.batch.values import (
    LOCAL,
    BatchListener,
    BatchOptions,
    BatchProgress,
    BatchSummary,
    ClusterOptions,
    Recipe,
)
from lfdn_video.batch.watch import WatchedFolders
from lfdn_video.batch.workers import Workers, count_jobs
from lfdn_video.errors import InputError, OptionError
from lfdn_video.progress import Progress

POLL_S = 0.25
FULL_BYTES = 32 << 20
"""Free space below which an error of a target is taken for a full disk."""

PAUSE_S = 60.0
"""Seconds after which a watching run tries again what failed for want of space or rights."""


def restore_many(
    sources: Sequence[str | Path],
    folder: str | Path,
    *,
    listed: Iterable[str | Path] = (),
    recipe: Recipe | None = None,
    options: BatchOptions | None = None,
    listener: BatchListener | None = None,
) -> BatchSummary:
    """Restore many files into a folder, and go on where an earlier run ended.

    What an earlier run finished is not restored again as long as source, options and weights are
    the same; a file that was interrupted is resumed. A file that fails is told, and stops no other.

    Args:
        sources: folders, files, and patterns such as `card/**/*.mp4`.
        folder: the target folder; made if it does not exist. Below a source folder its tree is
            kept; other files are put into the folder itself.
        listed: more files; the folders of relative paths are kept.
        recipe: how each file is restored; None: the defaults.
        options: how the batch runs; None: the defaults.
        listener: is told what happens, in the caller's thread; None: nobody.

    Returns:
        What came of each file.

    Raises:
        InputError: there is no file to restore.
        OutputError: the folder cannot be written, is a source, or another run works in it.
        OptionError: an option cannot be met.
        WeightsError: the weights cannot be loaded.
        DeviceError: the network cannot run on the device.
    """
    recipe, options = recipe or Recipe(), options or BatchOptions()
    target = Path(folder)
    names = [str(source) for source in sources]
    template = Template(options.name, recipe.task)
    check_folder(target, names)
    # Imported late: torch takes seconds to load, and wrong names should fail before that.
    from lfdn_video.inference.devices import choose_device, free_system_bytes
    from lfdn_video.inference.engine import identify_weights

    inference = recipe.inference
    digest = identify_weights(recipe.task, recipe.weights, inference.network)
    wishes = Wishes(
        made_with=recipe.describe(digest), overwrite=recipe.encode.overwrite, retry=options.retry
    )
    jobs = count_jobs(options.jobs, choose_device(inference.device).type, free_system_bytes())
    feed: Feed
    if options.watch:
        feed = WatchedFolders(names, target, template, settle_s=options.settle_s)
    else:
        feed = _Listed(find_items(names, [str(path) for path in listed], target, template), names)
    pool = _choose_pool(options.cluster, jobs, recipe)
    with feed, Manifest(target) as manifest, pool as workers:
        return _Batch(feed, manifest, workers, wishes, listener or BatchListener()).run()


def _choose_pool(cluster: ClusterOptions | None, jobs: int, recipe: Recipe) -> "Pool[_Active]":
    if cluster is None:
        return Workers(jobs, recipe)
    if cluster.address == LOCAL:
        return Division(Workers(jobs, recipe), recipe)
    try:
        from lfdn_video.batch.cluster import RayTasks
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise OptionError(
            "cluster: Ray is not installed; run: pip install 'lfdn-video[ray]', or use local"
        ) from error
    return Division(RayTasks(cluster, recipe), recipe)


class Feed(Protocol):
    """Where a batch gets its items from."""

    @property
    def is_over(self) -> bool:
        """No more items will come."""

    def poll(self) -> Found:
        """Return the items that are new since the last call."""

    def offer_again(self, item: Item) -> None:
        """Return an item again from a later `poll`, if more are to come at all."""

    def __enter__(self) -> "Feed": ...

    def __exit__(self, *_: object) -> None: ...


class _Listed:
    """Items that are known from the start. InputError if there are none."""

    def __init__(self, found: Found, sources: Sequence[str]) -> None:
        if not found.items:
            raise InputError(
                f"{', '.join(sources)}: holds no videos or images; give another folder, or files"
            )
        self._found = found
        self.is_over = False

    def poll(self) -> Found:
        found, self._found = self._found, Found()
        self.is_over = True
        return found

    def offer_again(self, item: Item) -> None:
        pass

    def __enter__(self) -> "_Listed":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(slots=True, eq=False)
class _Active:
    """An item that a worker has."""

    item: Item
    target: Path
    entry: Entry
    size: int
    start_s: float
    progress: Progress | None = None


class _Batch:
    """One run of `restore_many`."""

    def __init__(
        self,
        feed: Feed,
        manifest: Manifest,
        workers: Pool[_Active],
        wishes: Wishes,
        listener: BatchListener,
    ) -> None:
        self._feed = feed
        self._manifest = manifest
        self._workers = workers
        self._wishes = wishes
        self._listener = listener
        self._queue: deque[tuple[Item, int]] = deque()
        self._active: list[_Active] = []
        self._owners: dict[str, Path] = {}
        """Source of each target of this run."""
        self._ledger = Ledger(manifest, listener)
        self._meter = Meter()
        self._start_s = time.perf_counter()
        self._stopped = ""
        self._paused_until_s = float("-inf")

    def run(self) -> BatchSummary:
        """Work until there is nothing left."""
        try:
            self._admit_new()
            self._listener.batch_started(self._manifest.folder, self._known, len(self._queue))
            while self._work():
                self._admit_new()
        except KeyboardInterrupt as stop:
            done = f"{self._ledger.ended} of {self._known} files are done"
            stop.add_note(f"{done}; the same command continues")
            raise
        return BatchSummary(
            folder=self._manifest.folder,
            files=self._ledger.results,
            seconds=time.perf_counter() - self._start_s,
            stopped=self._stopped,
        )

    @property
    def _known(self) -> int:
        return self._ledger.ended + len(self._queue) + len(self._active)

    def _admit_new(self) -> None:
        found = self._feed.poll()
        for note in found.notes:
            self._listener.noted(note)
        for item in found.items:
            self._admit(item)

    def _admit(self, item: Item) -> None:
        """Queue an item, unless there is nothing to do for it."""
        target = self._manifest.folder / item.key
        owner = self._owners.setdefault(item.key, item.source)
        if owner != item.source:
            problem = f"its target {target} is that of {owner} too"
            advice = "give the targets another name, or the sources one by one"
            self._ledger.refuse(item, f"{item.source}: {problem}; {advice}")
            return
        known = self._manifest.entries.get(item.key)
        # Only what is known is looked at now: of thousands of new files each is read in its turn.
        if known is not None:
            decision = decide(item, target, known, self._wishes)
            if not isinstance(decision, Restore):
                self._ledger.settle(item, decision, earlier=True)
                return
        self._ledger.reopen(item)
        size = _measure(item.source)
        self._meter.total_bytes += size
        self._queue.append((item, size))

    def _work(self) -> bool:
        """Give jobs, and handle one message. Returns False when the batch is over."""
        is_paused = time.monotonic() < self._paused_until_s
        while self._queue and self._workers.free and not is_paused and not self._stopped:
            self._begin(*self._queue.popleft())
        if not self._workers.busy and self._feed.is_over and (not self._queue or self._stopped):
            return False
        if (message := self._workers.wait(POLL_S)) is not None:
            self._handle(*message)
        if self._meter.is_due():
            self._listener.progressed(self._progress())
        return True

    def _begin(self, item: Item, size: int) -> None:
        target = self._manifest.folder / item.key
        known = self._manifest.entries.get(item.key)
        decision = decide(item, target, known, self._wishes)
        if not isinstance(decision, Restore):
            self._meter.end(size, restored=False)
            self._ledger.settle(item, decision, earlier=False)
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._meter.end(size, restored=False)
            problem = f"its folder cannot be made: {error.strerror}; choose another folder"
            self._ledger.refuse(item, f"{target}: {problem}")
            return
        self._manifest.record(decision.entry)
        active = _Active(item, target, decision.entry, size, time.perf_counter())
        self._active.append(active)
        # The slash says that a folder is meant, whatever its name looks like.
        name = f"{target}/" if item.source.is_dir() else str(target)
        job = Job(str(item.source), name, decision.overwrite, decision.resume)
        self._meter.start()
        self._listener.file_started(item.source, target)
        self._workers.give(job, active)

    def _handle(self, active: _Active, message: Any) -> None:
        """Handle a message of a worker."""
        if isinstance(message, Progressed):
            active.progress = message.progress
        elif isinstance(message, Warned):
            self._listener.noted(message.message)
        elif isinstance(message, Finished):
            self._active.remove(active)
            self._meter.end(active.size, restored=True)
            self._ledger.finish(active.item, active.entry, message.summary)
        elif isinstance(message, Failed):
            self._active.remove(active)
            self._meter.end(active.size, restored=False)
            self._fail(active, message)

    def _fail(self, active: _Active, failed: Failed) -> None:
        text = failed.message
        if failed.kind in ("Lost", "Stopped"):
            text = f"{active.item.source}: {text}; try it alone"
        seconds = time.perf_counter() - active.start_s
        self._ledger.fail(active.item, active.entry, failed.kind, text, seconds)
        if failed.kind not in PASSING:
            return
        self._feed.offer_again(active.item)
        if _is_full(folder := self._manifest.folder):
            if self._feed.is_over:
                self._stopped = f"{folder}: the disk is full; run again when there is space"
            self._paused_until_s = time.monotonic() + PAUSE_S

    def _progress(self) -> BatchProgress:
        partial = sum(
            each.size * each.progress.frames_done / each.progress.frames_total
            for each in self._active
            if each.progress is not None and each.progress.frames_total
        )
        return BatchProgress(
            files_done=self._ledger.ended,
            files_total=self._known,
            files_failed=self._ledger.failed,
            share=self._meter.share(partial),
            elapsed_s=self._meter.elapsed_s,
            eta_s=self._meter.eta_s(partial),
            current={
                each.item.source: each.progress
                for each in self._active
                if each.progress is not None
            },
        )


def _measure(source: Path) -> int:
    """Return the size of a source in bytes, at least 1; it may have gone meanwhile."""
    try:
        files = list_images(source) if source.is_dir() else [source]
        return max(1, sum(file.stat().st_size for file in files))
    except OSError:
        return 1


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False
