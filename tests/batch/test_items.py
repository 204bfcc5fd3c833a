"""Which files a batch restores, and where to."""

import os
from pathlib import Path

import pytest

from lfdn_video.batch.items import (
    Found,
    Template,
    check_folder,
    find_items,
    is_batch_source,
    read_list,
)
from lfdn_video.errors import InputError, OptionError, OutputError

KEEP = Template("{stem}.{ext}", "derain")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def keys(found: Found) -> list[str]:
    return [item.key for item in found.items]


class TestFolders:
    def test_tree_is_kept_and_hidden_files_are_left_out(self, tmp_path: Path) -> None:
        card = touch(
            tmp_path / "card", "10.mp4", "9.MOV", "tue/a.mkv", ".x.mp4", ".trash/b.mp4", "notes.txt"
        )
        found = find_items([str(card)], [], tmp_path / "dry", KEEP)
        assert keys(found) == ["9.MOV", "10.mp4", "tue/a.mkv"]
        assert found.notes == ["1 other file is left out (.txt)"]

    def test_folder_named_like_a_video_is_a_folder(self, tmp_path: Path) -> None:
        card = touch(tmp_path / "card", "a.mp4/b.mp4")
        assert keys(find_items([str(card)], [], tmp_path / "dry", KEEP)) == ["a.mp4/b.mp4"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
    def test_pipe_is_left_out(self, tmp_path: Path) -> None:
        card = touch(tmp_path / "card", "a.mp4")
        os.mkfifo(card / "pipe.mp4")
        found = find_items([str(card)], [], tmp_path / "dry", KEEP)
        assert (keys(found), len(found.notes)) == (["a.mp4"], 1)

    def test_target_folder_inside_is_left_out(self, tmp_path: Path) -> None:
        card = touch(tmp_path, "a.mp4", "dry/a.mp4")
        for source in (str(card), f"{card}/**/*.mp4"):
            assert keys(find_items([source], [], card / "dry", KEEP)) == ["a.mp4"]

    def test_several_folders_keep_their_names(self, tmp_path: Path) -> None:
        touch(tmp_path, "one/a.mp4", "two/a.mp4")
        sources = [str(tmp_path / name) for name in ("one", "two")]
        assert keys(find_items(sources, [], tmp_path / "dry", KEEP)) == ["one/a.mp4", "two/a.mp4"]

    def test_numbered_images_are_one_sequence_and_others_are_not(self, tmp_path: Path) -> None:
        card = touch(
            tmp_path / "card", "film/1.png", "film/2.png", "photos/a.jpg", "photos/b.jpg", "c.mp4"
        )
        found = find_items([str(card)], [], tmp_path / "dry", Template("{stem}_x.{ext}", "derain"))
        assert keys(found) == ["c_x.mp4", "film", "photos/a_x.jpg", "photos/b_x.jpg"]
        assert found.notes == []

    def test_doubt_between_sequence_and_files_is_told(self, tmp_path: Path) -> None:
        card = touch(tmp_path / "card", "1.png", "2.png", "c.mp4")
        found = find_items([str(card)], [], tmp_path / "dry", KEEP)
        assert keys(found) == ["card", "c.mp4"]
        (note,) = found.notes
        assert note.startswith(f"{card}: holds videos and 2 numbered images")


class TestFiles:
    def test_named_file_goes_into_the_target_folder(self, tmp_path: Path) -> None:
        found = find_items(["/card/tue/a.mp4", "gone.mp4"], [], tmp_path, KEEP)
        assert keys(found) == ["a.mp4", "gone.mp4"]

    def test_pattern_keeps_the_tree_below_its_wildcard(self, tmp_path: Path) -> None:
        touch(tmp_path, "card/tue/a.mp4", "card/wed/b.mp4", "card/wed/b.txt")
        found = find_items([f"{tmp_path}/card/*/*"], [], tmp_path / "dry", KEEP)
        assert keys(found) == ["tue/a.mp4", "wed/b.mp4"]

    def test_pattern_that_matches_nothing_is_told_in_its_turn(self, tmp_path: Path) -> None:
        found = find_items([f"{tmp_path}/*.mp4"], [], tmp_path / "dry", KEEP)
        assert [item.source for item in found.items] == [tmp_path / "*.mp4"]

    def test_list_keeps_folders_of_relative_paths(self, tmp_path: Path) -> None:
        lines = ["tue/a.mp4", "/card/b.mp4", "../c.mp4"]
        assert keys(find_items([], lines, tmp_path, KEEP)) == ["tue/a.mp4", "b.mp4", "c.mp4"]

    def test_file_named_twice_is_restored_once(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp4")
        sources = [str(tmp_path / "a.mp4"), str(tmp_path)]
        assert keys(find_items(sources, [], tmp_path / "dry", KEEP)) == ["a.mp4"]

    @pytest.mark.parametrize("text", ["a b.mp4\n\nc.mp4\n", "a b.mp4\0c.mp4\0"])
    def test_list_is_lines_or_ends_with_nul(self, text: str) -> None:
        assert read_list(text, "stdin") == ["a b.mp4", "c.mp4"]

    def test_empty_list_is_refused(self) -> None:
        with pytest.raises(InputError, match="stdin: the list is empty"):
            read_list("\n", "stdin")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.png", "2.png"], False),
        (["a.jpg", "sub/b.jpg"], False),
        (["a.jpg", "sub/b.mp4"], True),
        (["a.mp4"], True),
        (["sub/1.png"], True),
        ([], True),
    ],
)
def test_folder_is_a_sequence_if_it_holds_images_and_no_video(
    tmp_path: Path, names: list[str], expected: bool
) -> None:
    assert is_batch_source(str(touch(tmp_path, *names))) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("a.mp4", False), ("*.png", False), ("f_%05d.png", False), ("*.mp4", True), ("x/**/*", True)],
)
def test_pattern_of_images_is_a_sequence(source: str, expected: bool) -> None:
    assert is_batch_source(source) is expected


class TestTemplate:
    def test_fields_are_filled_in(self) -> None:
        assert Template("{task}-{stem}.mkv", "derain").apply("a.b.mp4") == "derain-a.b.mkv"
        assert Template("{stem}.{ext}", "derain").apply("a{ext}.MP4") == "a{ext}.MP4"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{name}.mp4", "may only have the fields"),
            ("{stem.__class__}", "may only have the fields"),
            ("{stem", "may only have the fields"),
            ("out.mp4", r"lacks \{stem\}"),
            ("../{stem}.mp4", "not the name of a visible file"),
            (".{stem}", "not the name of a visible file"),
        ],
    )
    def test_bad_template_is_refused(self, text: str, problem: str) -> None:
        with pytest.raises(OptionError, match=problem):
            Template(text, "derain")


class TestTargetFolder:
    def test_source_folder_itself_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="is the source folder itself"):
            check_folder(tmp_path, [f"{tmp_path}/."])

    def test_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="is a file"):
            check_folder(touch(tmp_path, "a") / "a", [])

    def test_name_of_a_video_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="is named like a file"):
            check_folder(tmp_path / "out.mp4", [])
