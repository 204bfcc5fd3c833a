"""Write one frame of a video before and after restoration as one image: source above, result below.

    python -m benchmarks.before_after samples/rainy_dashcam.mp4 -o docs/before_after.jpg --at 1.5

Both are the same frame, upright, as the Python API returns them; nothing is retouched.
"""

from contextlib import closing
from pathlib import Path
from typing import get_args

import click
import numpy as np
from PIL import Image

from lfdn_video import SpanOptions, open_reader, restored_frames
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.options import Task

GAP_PX = 6
QUALITY = 92


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Image to write."
)
@click.option(
    "--at",
    "at_s",
    type=float,
    default=0.0,
    show_default=True,
    help="Time of the frame, in seconds from the first one.",
)
@click.option("--task", type=click.Choice(get_args(Task)), default="derain", show_default=True)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights file instead of packaged weights."
)
@click.option("--beside", is_flag=True, help="Side by side instead of one above the other.")
def main(
    source: Path, output: Path, at_s: float, task: Task, weights: Path | None, beside: bool
) -> None:
    """Write one frame of SOURCE before and after restoration."""
    span = SpanOptions(start_s=at_s)
    with open_reader(source, span) as reader, closing(reader.frames()) as frames:
        frame = next(frames)
        before = PlaneConverter(frame.info or reader.info).to_image(frame.planes)
    with closing(restored_frames(source, task=task, weights=weights, span=span)) as restored:
        after = next(restored).image
    axis = 1 if beside else 0
    shape = [*before.shape]
    shape[axis] = GAP_PX
    both = np.concatenate([before, np.full(shape, 255, np.uint8), after], axis=axis)
    Image.fromarray(both).save(output, quality=QUALITY)
    change = np.abs(before.astype(int) - after).mean()
    click.echo(f"{output}: {both.shape[1]}x{both.shape[0]}, mean change {change:.2f} of 255")


if __name__ == "__main__":
    main()
