"""Does x264 give the same file for the same frames? Encode them many times over, and count.

    python -m benchmarks.repeatable
    python -m benchmarks.repeatable --size 640x360 --encoders 20

Several encoders at a time, twice over, so that the second ones get memory that was used before;
with x264 as it is, and with the option that `lfdn_video.output.encoder_options` sets where the
processor has AVX-512. One result each is as it should be.
"""

import hashlib
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np
from av.codec.context import CodecContext

from benchmarks.kills import long_clip
from lfdn_video.output.encoder_options import X264_REPEATABLE

FRAMES, ROUNDS = 250, 2


@click.command()
@click.option("--size", default="96x64", help="Of the pictures.")
@click.option("--encoders", default=200, help="How many at a time.")
def main(size: str, encoders: int) -> None:
    """Encode a made clip many times."""
    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        clip = long_clip(Path(folder) / "clip.mp4", FRAMES)
        with av.open(clip) as container:
            frames = [
                frame.reformat(width, height).to_ndarray() for frame in container.decode(video=0)
            ]
    for options in ({}, X264_REPEATABLE):
        results: Counter[str] = Counter()
        for _ in range(ROUNDS):
            results.update(_encoded(frames, width, height, encoders, options))
        name = ", ".join(f"{key}={value}" for key, value in options.items()) or "as it is"
        often = results.most_common(4)
        click.echo(f"{name}: {results.total()} times, {len(results)} results {often}")


def _encoded(
    frames: list[np.ndarray], width: int, height: int, encoders: int, options: dict[str, str]
) -> list[str]:
    contexts = []
    for _ in range(encoders):
        context = CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.options = {"crf": "16", "threads": "1", **options}
        contexts.append(context)
    hashes = [hashlib.md5() for _ in contexts]
    for pts, pixels in enumerate([*frames, None]):
        for context, found in zip(contexts, hashes, strict=True):
            frame = None
            if pixels is not None:
                frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
                frame.pts = pts
            for packet in context.encode(frame):
                found.update(bytes(packet))
    return [found.hexdigest()[:8] for found in hashes]


if __name__ == "__main__":
    main()
