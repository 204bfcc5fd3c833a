"""What a video is written by: encoder, frame rate, and a sink for one file or for segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from lfdn_video.copying import PacketIndex
from lfdn_video.media import VideoInfo
from lfdn_video.options import IMAGE_RATE, EncodeOptions, SpanOptions
from lfdn_video.output.containers import CONSTANT_RATE_CONTAINERS
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.gated import GatedSink
from lfdn_video.output.joint import Joint, choose_joint
from lfdn_video.output.journal import Journal, fingerprint_file
from lfdn_video.output.muxer import Muxer
from lfdn_video.output.part_sink import PartSink, describe_part
from lfdn_video.output.segments import choose_segment_frames
from lfdn_video.output.sinks import DirectSink, SegmentedSink, Sink
from lfdn_video.parts import Part

MAX_DIRECT_SEGMENTS = 2
"""Runs with more frames than this number of segments has are written in segments."""

MAX_RATE = 240
"""Rates above this are a wrong guess, and more than some encoders accept."""


def choose_encoder(
    info: VideoInfo,
    options: EncodeOptions,
    index: PacketIndex | None,
    time_base: Fraction,
    codec: str,
    container: str,
) -> tuple[Encoder, Joint | None, str | None]:
    """Choose an encoder, and one whose packets go with the source's if these are to be copied.

    Args:
        info: the source.
        options: how to encode, adapted to the container.
        index: the source's packets, if segments may be copied; None: everything is encoded.
        time_base: that of the frames' pts.
        codec: the encoder's name.
        container: the muxer's name.

    Returns:
        The encoder; how its packets are joined to the source's, None if nothing is copied; and why
        nothing can be copied although it should be.

    Raises:
        OptionError: the encoder does not accept the options.
    """

    def make(codec_options: Mapping[str, str]) -> Encoder:
        own = replace(options, codec_options=codec_options)
        return Encoder(info, own, time_base=time_base, codec=codec, container=container)

    chosen = options.codec_options
    if index is None:
        return make(chosen), None, None
    found = choose_joint(index, info, codec, container, make, chosen)
    if isinstance(found, str):
        return make(chosen), None, found
    encoder, joint = found
    return encoder, joint, None


def choose_rate(
    info: VideoInfo, options: EncodeOptions, encoder: Encoder, container: str
) -> Fraction:
    """Choose the frame rate, which some containers and codecs keep to.

    Args:
        info: the source.
        options: may name a rate, for images.
        encoder: of the frames.
        container: the muxer's name.

    Returns:
        Frames per second.
    """
    rate = options.frame_rate or info.average_rate or IMAGE_RATE
    if container in CONSTANT_RATE_CONTAINERS or encoder.needs_rate:
        return encoder.keep_rate(rate)
    return IMAGE_RATE if rate > MAX_RATE else rate


def choose_sink(
    file: Path,
    muxer: Muxer,
    options: EncodeOptions,
    span: SpanOptions,
    rate: Fraction,
    index: PacketIndex | None,
    joint: Joint | None,
    part: Part | None = None,
) -> Sink:
    """Choose segments for long runs, where an interrupted run left some, for copies, and for parts.

    Args:
        file: the file to write.
        muxer: writes it.
        options: how to encode.
        span: the part of the source that the frames are from.
        rate: frames per second.
        index: the source's packets, if segments may be copied.
        joint: how they are joined with those of the encoder; None: nothing is copied.
        part: the part of the source that is written; None: all of the span.

    Returns:
        A sink that has not begun.
    """
    info = muxer.info
    expected = info.expected_frames(span)
    segment_frames = choose_segment_frames(info)
    is_long = expected is None or expected > MAX_DIRECT_SEGMENTS * segment_frames
    if not (is_long or joint or part or Journal(file).folder.is_dir()):
        return DirectSink(file, muxer, overwrite=options.overwrite)
    make: Callable[..., SegmentedSink] = SegmentedSink
    manifest = _build_manifest(info, options, span)
    if part is not None:
        make = PartSink
        manifest |= describe_part(part)
    elif joint is not None and index is not None:
        make = partial(GatedSink, index=index, joint=joint)
    return make(
        file,
        muxer,
        muxer.encoder,
        options,
        rate=rate,
        segment_frames=segment_frames,
        manifest=manifest,
    )


def _build_manifest(info: VideoInfo, options: EncodeOptions, span: SpanOptions) -> dict[str, Any]:
    """Return everything that a run's encoded frames depend on, as JSON values."""
    # `overwrite` and `resume` do not change the frames, so a resuming command may differ in them.
    encode = {name: str(value) for name, value in asdict(options).items() if value is not None}
    for name in ("overwrite", "resume"):
        encode.pop(name)
    source: Any = {"pictures": info.frame_count}
    if info.path.is_file():
        source = fingerprint_file(info.path)
    if info.deinterlaced:
        source["deinterlaced"] = True
    return {"source": source, "encoding": encode, "span": asdict(span)}
