"""Options of FFmpeg's video encoders: our defaults, merged with the user's and checked.

Wrong options are refused here, before the first frame, with the closest valid name.
"""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache

import cv2
from av.codec import Codec
from av.codec.context import CodecOption, OptionFlags

from lfdn_video.errors import OptionError
from lfdn_video.options import CODEC_DEFAULTS, EncodeOptions

QUALITY_OPTIONS = frozenset({"crf", "cq", "qp", "b", "rc", "global_quality", "lossless", "quality"})
"""If the user sets one of these by name, our default quality is dropped."""

PRINTING_CODECS = frozenset({"libx264", "libx264rgb", "libx265"})
"""Encoders that print to stderr on a wrong preset, so presets are checked beforehand."""

PRESETS: tuple[str, ...] = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)

MAX_CRF = {"libx264": 51, "libx264rgb": 51, "libx265": 51, "h264_nvenc": 51, "hevc_nvenc": 51}
DEFAULT_MAX_CRF = 63  # VP8, VP9, AV1
"""Upper ends of the CRF scales. FFmpeg passes on larger values, which encoders handle differently.
"""

X264_REPEATABLE = {"x264-params": "asm=avx2"}
"""x264's AVX-512 code for `mbtree` reads uninitialized memory, at least in small frames: now and
then the same frames encode differently, so a resumed run would differ from an uninterrupted one. Up
to AVX2 its output is reproducible, and it is no slower (`docs/log.md`, 2026-11-25)."""

CPU_AVX_512F = 13  # OpenCV's `CpuFeatures` value, which its Python module does not export

# SVT-AV1 prints to stderr regardless of FFmpeg's log level; 1 is "errors only".
os.environ.setdefault("SVT_LOG", "1")


def resolve_options(codec: Codec, options: EncodeOptions) -> dict[str, str]:
    """Merge our defaults and the user's choice into FFmpeg's options for an encoder.

    Args:
        codec: the encoder.
        options: `codec_options` override `crf` and `preset`, which override `CODEC_DEFAULTS`.

    Returns:
        Values by FFmpeg's option names; the encoder supports every name.

    Raises:
        OptionError: the encoder has no such option, or a value is out of range.
    """
    supported = codec.create("video").supported_options
    private = {option.name: option for option in supported.private}
    generic = {option.name: option for option in supported.generic if _is_for_video_encoder(option)}
    resolved = {**CODEC_DEFAULTS.get(codec.name, {}), **_find_repeatable_options(codec)}
    if QUALITY_OPTIONS & options.codec_options.keys() and options.crf is None:
        resolved = {key: resolved[key] for key in resolved if key not in QUALITY_OPTIONS}
        resolved.pop("flags", None)  # "+qscale", which belongs to the default quality
    if options.crf is not None:
        name = _find_quality_option(codec, private)
        worst = MAX_CRF.get(codec.name, DEFAULT_MAX_CRF)
        if not 0 <= options.crf <= worst:
            raise OptionError(f"crf: {codec.name} takes 0 (best) to {worst}, not {options.crf:g}")
        resolved[name] = f"{options.crf:g}"
    if options.preset is not None:
        _check_preset(codec, private, options.preset)
        resolved["preset"] = options.preset
    for name, value in options.codec_options.items():
        if name not in private and name not in generic:
            hint = suggest_name(name, [*private, *generic])
            raise OptionError(f"{codec.name}: no such option: {name!r}{hint}")
        # Parameters of the encoder's library are appended to ours; later ones override earlier.
        joins = name.endswith("-params") and name in resolved
        resolved[name] = f"{resolved[name]}:{value}" if joins else value
    return resolved


def suggest_name(name: str, known: Sequence[str]) -> str:
    """Suggest the closest of `known`, as the end of an error message; "" if none is close."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_preset(codec: Codec, private: Mapping[str, CodecOption], preset: str) -> None:
    if "preset" not in private:
        raise OptionError(f"preset: {codec.name} has no presets; leave it out")
    if codec.name in PRINTING_CODECS and preset not in PRESETS:
        raise OptionError(f"preset: {preset!r} is none of {', '.join(PRESETS)}")


def _find_quality_option(codec: Codec, private: Mapping[str, CodecOption]) -> str:
    for name in ("crf", "cq"):
        if name in private:
            return name
    raise OptionError(f"crf: {codec.name} has no constant-quality mode; leave it out")


def _find_repeatable_options(codec: Codec) -> dict[str, str]:
    return X264_REPEATABLE if codec.name.startswith("libx264") and _has_avx512() else {}


@cache
def _has_avx512() -> bool:
    # OpenCV is a portable way to query the CPU. PyTorch knows it too but takes seconds to load,
    # and a target is checked before that; NumPy's table of CPU features is private.
    return cv2.checkHardwareSupport(CPU_AVX_512F)


def _is_for_video_encoder(option: CodecOption) -> bool:
    needed = OptionFlags.ENCODING_PARAM | OptionFlags.VIDEO_PARAM
    return option.flags & needed == needed
