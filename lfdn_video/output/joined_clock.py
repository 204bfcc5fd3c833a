"""One clock for the copied streams of joined recordings, whose timestamps jump back at every join.

Recorders and `cat` put recordings one after the other into one file, and the timestamps of each
restart at its own start time. The reader continues the video without a gap: the first frame of a
part comes one frame after the last one of the part before. Audio and the other copied streams have
to follow *the video*:

    part            0                 │ 1
    video, source   0.00 ...... 9.96  │ 0.00 ......      shift of part 1: +10.00
    audio, source  -0.02 ..... 10.01  │-0.02 ......      its own end would say +10.05
    audio, target  -0.02 ..... 10.01  │ 9.98 ......

If every stream continued after its own last packet, audio would drift from the video by the
difference of their lengths (0.05 s above), and again at each join.

This module knows packets and their times; `passthrough.py` reads and writes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream

from lfdn_video.media import VideoInfo
from lfdn_video.timestamps import REORDER_FRAMES, DiscontinuityCounter

MAX_WAITING_PACKETS = 1000
"""Packets that may wait for the video to reach the part that their stream has reached."""

SPARSE_TYPES = ("subtitle", "data")
"""Streams whose packets may be out of order without a discontinuity."""


def decoding_time_s(packet: Packet[Stream]) -> Fraction:
    """Return a packet's decoding time in seconds: its dts, else its pts, else 0."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base


@dataclass(slots=True)
class _StreamState:
    """The position of a copied stream, on its own clock."""

    last_s: Fraction | None = None
    """Decoding time of its last packet."""
    part: int = 0
    """The part that it has reached, from 0; the video may be behind."""
    length_s: Fraction = Fraction(0)
    """Duration of its last packet, or else that packet's distance from the one before."""
    shift_s: Fraction = Fraction(0)
    """Its own shift, used only if the video is not followed."""


class JoinedClock:
    """Moves the packets of copied streams to the clock on which the video is shown.

    `shift_packets` does the work; `first_discontinuity_s` is set if there was a discontinuity.
    """

    def __init__(
        self, info: VideoInfo, *, follow_video: bool, origin_s: Fraction = Fraction(0)
    ) -> None:
        """Start at part 0.

        Args:
            info: the source.
            follow_video: True where the container allows timestamps to jump back. Elsewhere the
                video's packets are not demuxed, and each stream continues after its last packet.
            origin_s: start of the span on the source's clock. The first part in which the video
                reaches it is not shifted, as in the reader.
        """
        self.follow_video = follow_video
        self.first_discontinuity_s: Fraction | None = None
        """Time of the first discontinuity on the target's clock; None: there was none."""
        self._origin_s = origin_s
        self._origin_reached = False
        self._video_index = info.video_index
        self._frame_s = info.frame_ticks * info.time_base
        # Decoding and presentation order differ by at most that many frames. A smaller jump back is
        # disorder, as in a broken file; a larger one is a discontinuity.
        self._min_jump_s = REORDER_FRAMES * self._frame_s
        self._video_parts = DiscontinuityCounter(self._min_jump_s)
        # Of the video, by part: the shift to add to the source's times, and the last decoding time.
        self._shifts_s = [Fraction(0)]
        self._last_video_s = [Fraction(0)]
        self._video_end_s = Fraction(0)
        """End of the latest frame of the video's newest part, on the source's clock."""
        self._streams: dict[int, _StreamState] = {}

    def shift_packets(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """Move packets to the joined clock.

        Args:
            packets: the packets to copy, in the order of the file; with the video's among them if
                it is followed.

        Yields:
            The packets of the copied streams in the same order; those of the video are left out.
        """
        waiting: deque[tuple[Packet[Stream], _StreamState, int]] = deque()
        for packet in packets:
            if packet.stream.index == self._video_index:
                self._observe_video(packet)
            else:
                state = self._streams.setdefault(packet.stream.index, _StreamState())
                waiting.append((packet, state, self._find_part(packet, state)))
            # Audio is often stored a little before its video, so it may jump back first. The shift
            # of its part is known only once the video has jumped too: the packets wait. If the
            # video does not follow within the limit, only that stream jumped.
            gives_up = len(waiting) > MAX_WAITING_PACKETS
            while waiting and (gives_up or waiting[0][2] < len(self._shifts_s)):
                yield self._shift_packet(*waiting.popleft())
        for left in waiting:  # the file ended before the video followed
            yield self._shift_packet(*left)

    def _observe_video(self, packet: Packet[Stream]) -> None:
        """Detect the end of the video's part, and compute the shift of the next one."""
        if packet.dts is None and packet.pts is None:
            return
        # Parts are told apart by dts, which increase in the order of the file; a part's end and the
        # next one's start are presentation times, since those are what the viewer sees.
        dts_s = decoding_time_s(packet)
        pts_s = dts_s if packet.pts is None else packet.pts * packet.time_base
        if self._video_parts.observe(dts_s) == len(self._shifts_s):  # a new part begins
            end_s = self._video_end_s + self._shifts_s[-1]
            if self._origin_reached:
                self._record_discontinuity(end_s)
            # A part before the span is not in the target, so nothing continues after it.
            self._shifts_s.append(end_s - pts_s if self._origin_reached else Fraction(0))
            self._last_video_s.append(dts_s)
            self._video_end_s = pts_s
        self._origin_reached |= pts_s >= self._origin_s
        self._last_video_s[-1] = dts_s
        # Packets are in decoding order: the latest end need not be this packet's.
        self._video_end_s = max(self._video_end_s, pts_s + self._frame_s)

    def _find_part(self, packet: Packet[Stream], state: _StreamState) -> int:
        """Return the part that a packet belongs to; the video may not have reached it yet."""
        if packet.dts is None and packet.pts is None:
            return state.part
        time_s = decoding_time_s(packet)
        newest = len(self._shifts_s) - 1
        jumped = state.last_s is not None and state.last_s - time_s >= self._min_jump_s
        if not self.follow_video:
            if jumped and packet.stream.type not in SPARSE_TYPES:
                self._continue_after_own_end(state, time_s)
        elif jumped:
            # The next part, or the video's if the stream had no packet in the parts between.
            state.part = max(state.part + 1, newest)
        elif state.part < newest:
            # The video is in a new part already, but this stream did not jump. Either it is late
            # and still in the old part, or its packets are so sparse that the new part's first one
            # has a later time than the old part's last one. The nearer video decides.
            to_old_s = abs(time_s - self._last_video_s[state.part])
            to_newest_s = abs(time_s - self._last_video_s[newest])
            state.part = newest if to_newest_s < to_old_s else state.part
        # Subtitles and data may state no duration; the distance between packets stands in.
        if packet.duration:
            state.length_s = packet.duration * packet.time_base
        elif state.last_s is not None and time_s > state.last_s:
            state.length_s = time_s - state.last_s
        state.last_s = time_s
        return state.part

    def _continue_after_own_end(self, state: _StreamState, time_s: Fraction) -> None:
        """Shift a stream so that it continues at the end of its own last packet."""
        assert state.last_s is not None
        end_s = state.last_s + state.length_s + state.shift_s
        self._record_discontinuity(end_s)
        state.shift_s = end_s - time_s

    def _shift_packet(
        self, packet: Packet[Stream], state: _StreamState, part: int
    ) -> Packet[Stream]:
        newest = len(self._shifts_s) - 1
        if part > newest:
            # The video did not follow, so this was no discontinuity of the file. The stream returns
            # to the video's part; otherwise it would be one ahead for the rest of the file.
            part = newest
            state.part = min(state.part, newest)
        shift_s = self._shifts_s[part] if self.follow_video else state.shift_s
        # Rounded to the packet's ticks, from the exact shift each time: errors do not add up.
        ticks = round(shift_s / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packet

    def _record_discontinuity(self, time_s: Fraction) -> None:
        if self.first_discontinuity_s is None:
            self.first_discontinuity_s = time_s
