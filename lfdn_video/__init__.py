"""Video in, restored video out: the Python API.

    from lfdn_video import restore

    summary = restore("rainy.mp4", "dry.mp4")
    print(summary.frames, summary.bottleneck)

The names in `__all__` are public and stable; modules may change. Names are loaded on first use, so
that importing an error class does not load torch and FFmpeg. The network itself is the package
`lfdn`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfdn_video.background import StageTimes
    from lfdn_video.batch.run import restore_many
    from lfdn_video.batch.values import (
        BatchListener,
        BatchOptions,
        BatchProgress,
        BatchSummary,
        ClusterOptions,
        FileResult,
        Recipe,
    )
    from lfdn_video.copying import GateSummary, Segment
    from lfdn_video.errors import (
        DeviceError,
        DeviceMemoryError,
        InputError,
        LfdnVideoError,
        OptionError,
        OutputError,
        WeightsError,
    )
    from lfdn_video.frame_io import RestoredFrame
    from lfdn_video.inference.engine import load_engine
    from lfdn_video.input.open import open_reader
    from lfdn_video.media import Colour, Frame, PixelFormat, VideoInfo
    from lfdn_video.options import EncodeOptions, InferenceOptions, LiveOptions, SpanOptions
    from lfdn_video.output.open import open_writer
    from lfdn_video.pipeline import Summary, restore, restored_frames
    from lfdn_video.progress import Progress
    from lfdn_video.review.compare import Comparison, Figure, FrameMeasures, compare
    from lfdn_video.review.report import RunFacts, write_report
    from lfdn_video.review.video import write_comparison
    from lfdn_video.stream.live import live
    from lfdn_video.stream.session import LiveFrame
    from lfdn_video.temporal.stage import TemporalSummary

__all__ = [
    "BatchListener",
    "BatchOptions",
    "BatchProgress",
    "BatchSummary",
    "ClusterOptions",
    "Colour",
    "Comparison",
    "DeviceError",
    "DeviceMemoryError",
    "EncodeOptions",
    "Figure",
    "FileResult",
    "Frame",
    "FrameMeasures",
    "GateSummary",
    "InferenceOptions",
    "InputError",
    "LfdnVideoError",
    "LiveFrame",
    "LiveOptions",
    "OptionError",
    "OutputError",
    "PixelFormat",
    "Progress",
    "Recipe",
    "RestoredFrame",
    "RunFacts",
    "Segment",
    "SpanOptions",
    "StageTimes",
    "Summary",
    "TemporalSummary",
    "VideoInfo",
    "WeightsError",
    "compare",
    "live",
    "load_engine",
    "open_reader",
    "open_writer",
    "restore",
    "restore_many",
    "restored_frames",
    "write_comparison",
    "write_report",
]

_MODULE_OF = {
    "BatchListener": "batch.values",
    "BatchOptions": "batch.values",
    "BatchProgress": "batch.values",
    "BatchSummary": "batch.values",
    "ClusterOptions": "batch.values",
    "Colour": "media",
    "Comparison": "review.compare",
    "DeviceError": "errors",
    "DeviceMemoryError": "errors",
    "EncodeOptions": "options",
    "Figure": "review.compare",
    "FileResult": "batch.values",
    "Frame": "media",
    "FrameMeasures": "review.compare",
    "GateSummary": "copying",
    "InferenceOptions": "options",
    "InputError": "errors",
    "LfdnVideoError": "errors",
    "LiveFrame": "stream.session",
    "LiveOptions": "options",
    "OptionError": "errors",
    "OutputError": "errors",
    "PixelFormat": "media",
    "Progress": "progress",
    "Recipe": "batch.values",
    "RestoredFrame": "frame_io",
    "RunFacts": "review.report",
    "Segment": "copying",
    "SpanOptions": "options",
    "StageTimes": "background",
    "Summary": "pipeline",
    "TemporalSummary": "temporal.stage",
    "VideoInfo": "media",
    "WeightsError": "errors",
    "compare": "review.compare",
    "live": "stream.live",
    "load_engine": "inference.engine",
    "open_reader": "input.open",
    "open_writer": "output.open",
    "restore": "pipeline",
    "restore_many": "batch.run",
    "restored_frames": "pipeline",
    "write_comparison": "review.video",
    "write_report": "review.report",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("lfdn-video")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
