"""The network of one live source: one frame at a time, at a scale that may change.

`OwnNetwork` runs it in the thread that asks; `turns.py` lets several sources share a device.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Protocol

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.runner import Runner
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from lfdn_video.stream.scaling import ScaledRunner


class LiveNetwork(Protocol):
    """Restores the frames of one source, in order."""

    @property
    def device_name(self) -> str:
        """The device in use now, such as `cpu` or `cuda:0`."""

    def restore(self, frame: Frame, scale: float) -> Frame:
        """Restore a frame.

        Args:
            frame: the frame; its `info` is set.
            scale: the network's input over the frame, by their sides; above 0, up to 1.

        Returns:
            The restored frame; the caller owns its planes.

        Raises:
            LfdnVideoError: the network cannot restore it.
        """

    def use_lighter(self) -> bool:
        """Run the lighter network from the next frame on, if there is one and it does not yet."""

    def close(self) -> None:
        """End what is in flight; the networks stay open."""


class OwnNetwork:
    """A `LiveNetwork` that runs in the caller's thread.

    Args:
        runner: runs the network; it stays open.
        inference: tiles; None: the defaults.
        lighter: loads a network for when `runner` is too slow for full scale; None: there is none.
    """

    def __init__(
        self,
        runner: Runner,
        inference: InferenceOptions | None = None,
        lighter: Callable[[], Runner] | None = None,
    ) -> None:
        self._runner = ScaledRunner(runner, lighter)
        # A batch of tiles from several frames would hold back the first of them.
        self._inference = replace(inference or InferenceOptions(), batch=1)
        self._next: Frame | None = None
        self._results: Generator[Frame] | None = None

    @property
    def device_name(self) -> str:
        return self._runner.device_name

    def restore(self, frame: Frame, scale: float) -> Frame:
        """Run the network on one frame, within one run of the scheduler, which learns from it."""
        self._runner.scale = scale
        self._next = frame
        if self._results is None:
            assert frame.info is not None
            converter = PlaneConverter(frame.info)
            self._results = restore_frames(self._feed(), converter, self._runner, self._inference)
        # With nothing in flight, a frame is done before the next one is asked for.
        return next(self._results)

    def use_lighter(self) -> bool:
        return self._runner.use_lighter()

    def close(self) -> None:
        if self._results is not None:
            self._results.close()

    def _feed(self) -> Generator[Frame]:
        while (frame := self._next) is not None:
            self._next = None
            yield frame
