"""Restore frames before a detector sees them, and show what it finds with and without that.

    python pipelines/before_detector.py samples/rainy_dashcam.mp4 yolo.onnx -o seen.mp4

The model is any ONNX file with the output of YOLOv8 and its successors, `[1, 4 + classes, boxes]`;
OpenCV runs it. The video has the source's frames on the left and the restored ones on the right,
each with its boxes; the last line counts them. More boxes are not better: judge by your labels.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from lfdn_video import InferenceOptions, LfdnVideoError, restored_frames
from lfdn_video.files import Inputs, check_target

Image = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]
"""Left, top, width and height in px."""

GREEN = (0, 220, 0)
OVERLAP = 0.45
"""Of two boxes that overlap by more than this share, the weaker one is dropped."""


class Detector:
    """An ONNX model, run by OpenCV.

    Args:
        model: the file.
        side: width and height of the model's input in px.
        least: score from which on a box counts, 0…1.
    """

    def __init__(self, model: Path, side: int, least: float) -> None:
        self._network = cv2.dnn.readNetFromONNX(str(model))
        self._side = side
        self._least = least

    def find(self, image: Image) -> list[Box]:
        """Find things in an RGB image."""
        size = (self._side, self._side)
        self._network.setInput(cv2.dnn.blobFromImage(image, 1 / 255, size))
        rows: Image = np.asarray(self._network.forward())[0].T
        scores = rows[:, 4:].max(axis=1)
        rows, scores = rows[scores >= self._least], scores[scores >= self._least]
        height, width = image.shape[:2]
        scale = np.array([width, height, width, height]) / self._side
        boxes = (np.hstack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]]) * scale).astype(int)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self._least, OVERLAP)
        return [tuple(boxes[at].tolist()) for at in kept]


def load_detector(model: Path, side: int, least: float) -> Detector:
    """Load a model; one that OpenCV cannot read is an error of one line."""
    try:
        return Detector(model, side, least)
    except cv2.error as error:
        raise click.ClickException(f"{model}: not an ONNX model that OpenCV can run") from error


def source_frames(capture: cv2.VideoCapture) -> Iterator[Image]:
    """Yield the frames of a video as they are, in RGB; close it at the end."""
    try:
        while True:
            found, image = capture.read()
            if not found:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def draw(image: Image, boxes: list[Box]) -> Image:
    """Return a copy of an image with boxes."""
    drawn = image.copy()
    for left, top, width, height in boxes:
        cv2.rectangle(drawn, (left, top), (left + width, top + height), GREEN, 2)
    return drawn


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Video, .mp4.")
@click.option("--side", default=640, show_default=True, help="Side of the model's input in px.")
@click.option("--least", default=0.25, show_default=True, help="Score from which a box counts.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights for the restoration.")
@click.option("--device", default="auto", show_default=True, help="Device of the restoration.")
@click.option("--overwrite", is_flag=True, help="Replace a video that exists.")
def main(
    source: Path,
    model: Path,
    output: Path,
    side: int,
    least: float,
    weights: Path | None,
    device: str,
    overwrite: bool,
) -> None:
    """Detect in SOURCE with MODEL, without and with restoration."""
    inference = InferenceOptions(device=device)
    frames, counts, writer = 0, [0, 0], None
    try:
        check_target(output, Inputs([source, model]), overwrite=overwrite)
        detector = load_detector(model, side, least)
        capture = cv2.VideoCapture(str(source))
        rate = round(capture.get(cv2.CAP_PROP_FPS), 2) or 25  # MPEG-4 takes no finer one
        with closing(restored_frames(source, weights=weights, inference=inference)) as restored:
            for before, after in zip(source_frames(capture), restored, strict=False):
                images = (before, np.asarray(after.image))
                found = [detector.find(image) for image in images]
                shown = np.hstack([draw(*each) for each in zip(images, found, strict=True)])
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    size = (shown.shape[1], shown.shape[0])
                    writer = cv2.VideoWriter(str(output), code, rate, size)
                    if not writer.isOpened():
                        raise click.ClickException(f"{output}: cannot be written; use .mp4")
                writer.write(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
                counts = [count + len(each) for count, each in zip(counts, found, strict=True)]
                frames += 1
    except LfdnVideoError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if writer is not None:
            writer.release()
    click.echo(f"{frames} frames: {counts[0]} boxes before, {counts[1]} after restoration")


if __name__ == "__main__":
    main()
