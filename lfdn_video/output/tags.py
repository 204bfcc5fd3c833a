"""Tags and dispositions: selects those to copy, and finds those that a finished file lacks.

Containers drop tags silently, so each finished file is compared with its source. Knows streams,
not packets.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from lfdn_video.ffmpeg import codec_name, stream_title

# Tags about how a file was made, not about its content. The muxer writes new ones.
ENCODING_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps"}
    | {"vendor_id", "handler_name", "number_of_frames", "number_of_bytes"}
    # Of MXF: identities of the file and of the program that wrote it.
    | {"uid", "generation_uid", "operational_pattern_ul", "application_platform", "company_name"}
    | {"material_package_umid", "file_package_umid", "product_name", "product_uid"}
    | {"product_version", "product_version_num", "toolkit_version_num", "toolkit_version"}
)
MUXER_TAGS = ("Lavf", "Lavc")
"""Beginnings of the names that FFmpeg gives itself, in AVI as `software`."""
QUICKTIME_PREFIXES = ("COM.APPLE.", "COM.ANDROID.")
ENCODING_PREFIXES = ("_statistics", "bps-", "duration-", "number_of_")


def select_content_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Select the tags that describe the content and are to be copied."""
    return {
        _restore_case(tag): value
        for tag, value in tags.items()
        if not _is_about_encoding(tag, value)
    }


def collect_stream_tags(stream: Stream) -> dict[str, str]:
    """Collect a stream's tags under the names that FFmpeg's muxers expect."""
    tags = select_content_tags(stream.metadata)
    if title := stream_title(stream):
        tags["title"] = title
    tags.pop("name", None)  # MP4's name of the title
    return tags


def describe_stream(stream: Stream) -> str:
    """Describe a stream in a warning, such as `subtitle stream 3 (ass, eng, Signs)`."""
    tags = (stream.language, stream_title(stream), stream.metadata.get("filename"))
    details = ", ".join([codec_name(stream), *(tag for tag in tags if tag)])
    return f"{stream.type} stream {stream.index} ({details})"


def find_lost_tags(
    subject: str, before: Mapping[str, str], after: Mapping[str, str], elsewhere: set[str]
) -> Iterator[str]:
    """Find tags that did not reach a target.

    Args:
        subject: beginning of each sentence, such as `audio stream 1: `; empty for the container.
        before: the source's tags.
        after: the target's tags.
        elsewhere: values of the target's other tags, since FFmpeg renames and moves tags.

    Yields:
        One sentence for each tag whose name and value are both missing in the target.
    """
    names = {tag.lower() for tag in after}
    values = elsewhere | set(after.values())
    for tag, value in select_content_tags(before).items():
        undefined = tag == "language" and value == "und"
        if tag.lower() not in names and value not in values and not undefined:
            yield f"{subject}the tag {tag} is lost"


def find_stream_losses(before: Stream, after: Stream, elsewhere: set[str]) -> Iterator[str]:
    """Find the losses of a stream other than packets.

    Args:
        before: the stream in the source.
        after: its copy in the finished target.
        elsewhere: as in `find_lost_tags`.

    Yields:
        One sentence for each lost tag, disposition or sample aspect ratio.
    """
    label = describe_stream(before)
    if before.type != after.type:
        yield f"{label} is kept as {after.type} only"
        return
    yield from find_lost_tags(f"{label}: ", collect_stream_tags(before), after.metadata, elsewhere)
    lost = before.disposition & ~after.disposition
    if before.index == min(s.index for s in before.container.streams if s.type == before.type):
        lost &= ~Disposition.default  # players take the first of its type anyway
    for disposition in lost:
        yield f"{label}: the disposition {disposition.name} is lost"
    if isinstance(before, VideoStream) and isinstance(after, VideoStream):
        ratio = before.sample_aspect_ratio or Fraction(1)
        if ratio != (after.sample_aspect_ratio or Fraction(1)):
            yield f"{label}: the sample aspect ratio {ratio} is lost; players show it at 1"


def _restore_case(tag: str) -> str:
    """Undo Matroska's capitals where QuickTime's players know lower case alone."""
    if tag.isupper() and tag.startswith(QUICKTIME_PREFIXES):
        return tag.lower().replace("iso6709", "ISO6709")
    return tag


def _is_about_encoding(tag: str, value: str) -> bool:
    name = tag.lower()
    if name == "software" and value.startswith(MUXER_TAGS):
        return True
    return name in ENCODING_TAGS or name.startswith(ENCODING_PREFIXES)
