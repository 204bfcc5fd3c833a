"""stub"""
from collections.abc import Generator
from pathlib import Path
from typing import Self
from types import TracebackType
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.options import SpanOptions
class ImageReader:
    info: VideoInfo
    warnings: list[str]
    corrupt_packets: int
    span: SpanOptions
    def __init__(self, source: str | Path, span: SpanOptions | None = None) -> None: raise NotImplementedError
    def __enter__(self) -> Self: return self
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def frames(self) -> Generator[Frame]: raise NotImplementedError
def is_image_source(source: str | Path) -> bool: return False
from lfdn_video.options import EncodeOptions
class ImageWriter:
    warnings: list[str]
    def __init__(self, target: str | Path, info: VideoInfo, options: EncodeOptions | None = None) -> None: raise NotImplementedError
    def __enter__(self) -> Self: return self
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def write(self, frame: Frame) -> None: raise NotImplementedError
def is_image_target(target: str | Path, info: VideoInfo) -> bool: return False
