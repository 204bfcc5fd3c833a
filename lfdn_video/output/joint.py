"""One stream of two encoders' packets: can the source's be copied between those that we encode?

A decoder must be able to go from the ones to the others at a keyframe, with one header:

    H.264    our parameter sets get a number that the source's have not; the header holds both
    HEVC     x265's have the source's numbers, so both must be in the packets themselves
    VP9      keyframes hold all that a decoder needs

Otherwise `find_problem` says why not, and everything is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from av.codec.context import CodecContext, Flags
from av.video.codeccontext import VideoCodecContext

from lfdn_video.copying import PacketIndex
from lfdn_video.media import VideoInfo
from lfdn_video.nal import AvcConfiguration, MalformedError, split_start_codes, to_lengths
from lfdn_video.options import IMAGE_RATE
from lfdn_video.output.encoder import Encoder
from lfdn_video.output.signalling import APPLE_CONTAINERS

ENCODERS: Mapping[str, str] = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
"""The encoders whose packets fit a source's, by its codec."""

LENGTH_CONTAINERS = frozenset({"mp4", "mov", "ipod", "matroska"})
"""Containers that store units of H.264 and HEVC behind their lengths, as the index reads them."""

CONTAINERS: Mapping[str, frozenset[str]] = {
    "h264": LENGTH_CONTAINERS,
    "hevc": LENGTH_CONTAINERS,
    "vp9": frozenset({"mp4", "matroska", "webm"}),
}
"""Containers that store packets as they are, by codec."""

X264_PROFILES = {
    66: "baseline",
    77: "main",
    100: "high",
    110: "high10",
    122: "high422",
    244: "high444",
}
"""x264's names of `profile_idc`."""


@dataclass(frozen=True, slots=True)
class Joint:
    """How the encoder's packets are made to fit the source's; the default leaves them alone."""

    codec: str = ""
    """FFmpeg's name of both codecs."""
    header: bytes = b""
    """The source's decoder configuration."""

    @property
    def tag(self) -> str | None:
        """The tag in MP4 and MOV that says where parameter sets are; None: the usual one."""
        return "hev1" if self.codec == "hevc" else None

    def adapt(self, content: bytes) -> bytes:
        """Return a packet of the encoder as the joint stream stores it."""
        return to_lengths(content) if self.codec in ("h264", "hevc") else content

    def configure(self, context: VideoCodecContext, container: str) -> None:
        """Set header and tag of the target's stream, whose encoder is open."""
        if (header := self.extend_header(context.extradata or b"")) is not None:
            context.extradata = header
        if self.tag is not None and container in APPLE_CONTAINERS:
            context.codec_tag = self.tag

    def extend_header(self, own: bytes) -> bytes | None:
        """Make the decoder's configuration for both.

        Args:
            own: the encoder's.

        Returns:
            The configuration; None: the encoder's is enough.
        """
        if self.codec == "h264":
            return AvcConfiguration.parse(self.header).extended(split_start_codes(own)).build()
        return self.header if self.codec == "hevc" else None


def find_problem(index: PacketIndex, info: VideoInfo, codec: str, container: str) -> str | None:
    """Say why the source's packets cannot be copied, as far as that is known before encoding.

    Args:
        index: the source's packets.
        info: the source.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the muxer.

    Returns:
        Words that follow "nothing is copied:"; None: they can be.
    """
    if index.problem is not None:
        return f"{info.path}: {index.problem}"
    if info.codec not in ENCODERS:
        return f"packets of {info.codec} are not copied, only those of H.264, HEVC and VP9"
    if codec != ENCODERS[info.codec]:
        return (
            f"the source is {info.codec}, the target is encoded by {codec}; "
            f"use --codec {ENCODERS[info.codec]}"
        )
    if container not in CONTAINERS[info.codec]:
        return f"{container} stores {info.codec} in another form; use .mp4 or .mkv"
    if info.codec == "hevc" and not index.sets_in_band:
        return "the source's HEVC parameter sets are not in its packets"
    if info.codec != "h264":
        return None
    try:
        header = AvcConfiguration.parse(index.header)
        if header.profile not in X264_PROFILES:
            return f"x264 has no profile {header.profile} of H.264"
        if header.free_number() is None:
            return "the source uses all numbers of parameter sets"
    except MalformedError as error:
        return f"{info.path}: {error}"
    return None


def choose_encoder_options(
    index: PacketIndex, codec: str, chosen: Mapping[str, str]
) -> dict[str, str]:
    """Choose the options that make an encoder's packets fit the source's.

    Args:
        index: the source's packets, without a problem.
        codec: FFmpeg's name of the encoder.
        chosen: the user's options, which override all but the numbers of parameter sets.
    """
    # Decoders learn late that frames are reordered, and then lose some, unless they are all along.
    options = {} if index.reorders or codec == "libvpx-vp9" else {"bf": "0"}
    if codec == "libx264":
        header = AvcConfiguration.parse(index.header)
        options |= {"profile": X264_PROFILES[header.profile], **chosen}
        return _append(options, "x264-params", f"sps-id={header.free_number()}")
    options |= chosen
    return _append(options, "x265-params", "repeat-headers=1") if codec == "libx265" else options


def join(index: PacketIndex, info: VideoInfo, encoder: Encoder, rate: Fraction) -> Joint | str:
    """Find the header for the source's packets and an encoder's.

    Args:
        index: the source's packets, without a problem.
        info: the source.
        encoder: set up with `choose_encoder_options`.
        rate: frames per second, a hint to the encoder.

    Returns:
        How packets are joined; else why they cannot be.

    Raises:
        OptionError: the encoder does not accept an option.
    """
    if encoder.needs_rate:
        return f"{encoder.codec.name} has a constant rate here"
    if encoder.time_base != info.time_base:
        return "the target has other ticks"
    if encoder.converts:
        return "frames are converted for the target"
    if info.codec != "h264":
        return Joint(info.codec, index.header)
    context = cast("VideoCodecContext", CodecContext.create(encoder.codec, "w"))
    context.flags |= Flags.global_header
    encoder.configure(context, rate=rate)
    header = AvcConfiguration.parse(index.header)
    own = header.extended(split_start_codes(context.extradata or b"")).sequence_sets[-1]
    if own in header.sequence_sets or own[1] > header.profile:
        # Each profile of `X264_PROFILES` includes those of lower numbers.
        return f"the source has profile {header.profile} of H.264, the target {own[1]}"
    return Joint(info.codec, index.header)


def choose_joint(
    index: PacketIndex,
    info: VideoInfo,
    codec: str,
    container: str,
    make_encoder: Callable[[Mapping[str, str]], Encoder],
    chosen: Mapping[str, str],
) -> tuple[Encoder, Joint] | str:
    """Set up an encoder whose packets can be joined with the source's.

    Args:
        index: the source's packets.
        info: the source.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the muxer.
        make_encoder: makes it with these options.
        chosen: the user's options for it.

    Returns:
        The encoder, and how packets are joined; else why nothing can be copied.

    Raises:
        OptionError: the encoder does not accept an option.
    """
    if (problem := find_problem(index, info, codec, container)) is not None:
        return problem
    encoder = make_encoder(choose_encoder_options(index, codec, chosen))
    joint = join(index, info, encoder, info.average_rate or IMAGE_RATE)
    return joint if isinstance(joint, str) else (encoder, joint)


def _append(options: dict[str, str], name: str, more: str) -> dict[str, str]:
    return {**options, name: f"{options[name]}:{more}" if name in options else more}
