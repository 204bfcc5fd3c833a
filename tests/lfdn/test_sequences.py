"""Data sets as sequences: order, completeness, and clear errors."""

from pathlib import Path

import pytest

from lfdn.datasets.images import DataError
from lfdn.datasets.layouts import UnknownLayoutError
from lfdn.datasets.sequences import add_restored_frames, read_frame_sequences
from tests.support import datasets


def make_pair(folder: Path, names: list[str], clean: list[str] | None = None) -> Path:
    for side, files in (("rainy", names), ("clean", names if clean is None else clean)):
        for name in files:
            datasets.write_image(folder / side / f"{name}.png", datasets.draw_image(1))
    return folder


def test_folder_of_pairs_is_one_sequence_in_the_order_of_numbers(tmp_path: Path) -> None:
    folder = make_pair(tmp_path / "a1", ["f9", "f10", "f8"])
    (sequence,) = read_frame_sequences([f"pairs={folder}"])
    assert sequence.name == "a1"
    assert [frame.name for frame in sequence.frames] == ["f8", "f9", "f10"]


def test_sequences_may_be_above_or_below_the_two_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_pair(tmp_path / "above" / name, ["1", "2"])
        for side in ("rainy", "clean"):
            for frame in ("1", "2"):
                path = tmp_path / "below" / side / name / f"{frame}.png"
                datasets.write_image(path, datasets.draw_image(1))
    for text in (f"{tmp_path}/above", f"{tmp_path}/below",
                 f"{tmp_path}/below/rainy,{tmp_path}/below/clean"):  # fmt: skip
        assert [s.name for s in read_frame_sequences([f"pairs={text}"])] == ["a", "b"]


def test_sequence_can_be_left_out(tmp_path: Path) -> None:
    folder = datasets.make_gopro(tmp_path)
    for pattern in ("GOPR0", "GOPR0/*"):
        (sequence,) = read_frame_sequences([f"reds={folder}"], [pattern])
        assert (sequence.name, len(sequence.frames)) == ("GOPR1", 2)
    with pytest.raises(DataError, match="matches no sequence; there are GOPR0, GOPR1"):
        read_frame_sequences([f"reds={folder}"], ["GOPR0/000000"])


def test_frames_without_truth_are_sequences(tmp_path: Path) -> None:
    folder = datasets.make_clean(tmp_path / "walk")
    (sequence,) = read_frame_sequences([f"sequences={folder}"])
    assert (sequence.name, len(sequence.frames)) == ("walk", 3)
    assert sequence.frames[0].truth is None


@pytest.mark.parametrize(
    ("names", "clean", "words"),
    [
        (["1"], ["1"], "sequence a1 has a single frame"),
        (["1", "2"], ["1", "2", "3"], "clean: 3 images for 2 degraded frames"),
        (["1", "2", "3"], ["1", "2"], r"3\.png: no image of this name or number"),
        (["1", "2", "4"], ["1", "2", "4"], r"2\.png: the next frame is number 4"),
    ],
)
def test_incomplete_sequence_is_refused(
    tmp_path: Path, names: list[str], clean: list[str], words: str
) -> None:
    folder = make_pair(tmp_path / "a1", names, clean)
    with pytest.raises(DataError, match=words):
        read_frame_sequences([f"pairs={folder}"])


def test_layout_of_single_images_is_refused(tmp_path: Path) -> None:
    folder = datasets.make_rain100(tmp_path)
    with pytest.raises(UnknownLayoutError, match="'rain100' is no layout of sequences; use one of"):
        read_frame_sequences([f"rain100={folder}"])


def test_sequences_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = datasets.make_gopro(tmp_path)
    with pytest.raises(DataError, match="two sequences are called GOPR0"):
        read_frame_sequences([f"reds={folder}", f"gopro={folder}"])


def test_restored_frames_are_matched_by_order(tmp_path: Path) -> None:
    sequences = read_frame_sequences([f"pairs={make_pair(tmp_path / 'a1', ['8', '9'])}"])
    restored = datasets.make_clean(tmp_path / "out", 2)
    (sequence,) = add_restored_frames(sequences, restored)
    sources = [frame.restored.path.name for frame in sequence.frames if frame.restored]
    assert sources == ["000.png", "001.png"]


def test_restored_frames_must_be_as_many(tmp_path: Path) -> None:
    sequences = read_frame_sequences([f"reds={datasets.make_gopro(tmp_path / 'data')}"])
    datasets.make_clean(tmp_path / "out" / "GOPR0", 2)
    with pytest.raises(DataError, match="GOPR1: no such folder"):
        add_restored_frames(sequences, tmp_path / "out")
    datasets.make_clean(tmp_path / "out" / "GOPR1", 3)
    with pytest.raises(DataError, match="GOPR1: 3 images for the 2 frames of GOPR1"):
        add_restored_frames(sequences, tmp_path / "out")
