"""Evaluation of sequences with a network that changes nothing, and of frames restored before."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from lfdn.datasets.images import DataError
from lfdn.datasets.sequences import FrameSequence, add_restored_frames, read_frame_sequences
from lfdn.training.evaluate import EQUAL_DB
from lfdn.training.evaluate_video import (
    average_sequences,
    evaluate_video,
    summarize_sequences,
    write_csv,
)
from tests.support import datasets


@pytest.fixture
def sequences(tmp_path: Path) -> list[FrameSequence]:
    folder = datasets.make_gopro(tmp_path / "data", sequences=2, frames=3)
    return read_frame_sequences([f"gopro={folder}"])


def test_identity_has_the_scores_of_its_input(sequences: list[FrameSequence]) -> None:
    for row in summarize_sequences(list(evaluate_video(nn.Identity(), sequences))):
        assert row.frames == 3
        assert row.output_psnr_y == row.input_psnr_y
        assert row.output_flicker == row.input_flicker != 0
        assert row.output_warping_error == row.input_warping_error


def test_clean_frames_fed_in_are_equal_and_do_not_flicker(sequences: list[FrameSequence]) -> None:
    rows = list(evaluate_video(nn.Identity(), sequences, feed_clean=True))
    mean = average_sequences(summarize_sequences(rows))
    assert (mean.name, mean.frames) == ("mean of 2", 6)
    assert (mean.output_psnr_y, mean.output_flicker) == (EQUAL_DB, 0)
    assert mean.output_warping_error == mean.truth_warping_error


def test_restored_frames_are_scored_without_a_network(
    sequences: list[FrameSequence], tmp_path: Path
) -> None:
    rows = list(evaluate_video(nn.Identity(), sequences, save=tmp_path / "out"))
    again = list(evaluate_video(None, add_restored_frames(sequences, tmp_path / "out")))
    assert [replace(row, seconds=None) for row in rows] == again


def test_first_frame_is_compared_with_none(sequences: list[FrameSequence], tmp_path: Path) -> None:
    rows = list(evaluate_video(nn.Identity(), sequences))
    write_csv(rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["frame"] for row in written] == ["000000", "000001", "000002"] * 2
    assert [row["output_flicker"] == "" for row in written] == [True, False, False] * 2


def test_mean_of_a_sequence_is_over_pairs_and_of_the_warping_error_over_px(
    sequences: list[FrameSequence],
) -> None:
    rows = list(evaluate_video(nn.Identity(), sequences[:1]))
    (_, second, third) = (
        replace(row, output_flicker=f, output_warping_error=e, valid_share=share)
        for row, f, e, share in zip(
            rows, (None, 1.0, 2.0), (None, 3.0, 7.0), (None, 0.75, 0.25), strict=True
        )
    )
    (row,) = summarize_sequences([rows[0], second, third])
    assert (row.output_flicker, row.output_warping_error, row.valid_share) == (1.5, 4.0, 0.5)


def test_without_truth_only_the_warping_error_is_measured(tmp_path: Path) -> None:
    folder = datasets.make_clean(tmp_path / "walk")
    sequences = read_frame_sequences([f"sequences={folder}"])
    (row,) = summarize_sequences(list(evaluate_video(nn.Identity(), sequences)))
    assert row.output_psnr_y is row.output_flicker is row.truth_warping_error is None
    assert row.output_warping_error is not None
    with pytest.raises(DataError, match="has no clean counterpart to feed"):
        list(evaluate_video(nn.Identity(), sequences, feed_clean=True))


@pytest.mark.parametrize(
    ("file", "height", "words"),
    [
        ("rainy/2.png", 40, r"rainy/2\.png: 64x40 px, unlike the frame before"),
        ("clean/1.png", 40, r"clean/1\.png: another size than its frame"),
    ],
)
def test_mixed_sizes_are_named(tmp_path: Path, file: str, height: int, words: str) -> None:
    for name in ("rainy/1", "rainy/2", "clean/1", "clean/2"):
        datasets.write_image(tmp_path / f"{name}.png", datasets.draw_image(1))
    datasets.write_image(tmp_path / file, datasets.draw_image(1, height=height))
    sequences = read_frame_sequences([f"pairs={tmp_path}"])
    with pytest.raises(DataError, match=words):
        list(evaluate_video(nn.Identity(), sequences))
