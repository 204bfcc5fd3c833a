"""Pictures and figures of the documentation are those of today's weights, clips and pages."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import gallery, pictures
from tests.test_readme import PAGES, ROOT

LIMIT_BYTES = 4_000_000
LOOP_LIMIT_BYTES = 3_000_000
CHECKED_BY_ITSELF = {"training_curves.png"}
"""Pictures whose command compares them itself: `benchmarks.curves --check`."""


def shown() -> set[Path]:
    """Every picture that a page shows, but those that have a check of their own."""
    found = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text):
            found.add(((ROOT / page).parent / target).resolve())
    return {path for path in found if path.name not in CHECKED_BY_ITSELF}


def test_no_picture_is_stale() -> None:
    assert list(pictures.find_stale(pictures.load())) == []


def test_pages_show_pictures_of_the_manifest_alone() -> None:
    assert {path.name for path in shown()} == set(gallery.PICTURES) == set(pictures.load())
    assert {path.parent for path in shown()} == {pictures.FOLDER.resolve()}


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in pictures.FOLDER.iterdir()}
    assert sum(sizes.values()) < LIMIT_BYTES
    assert sizes["dashcam_loop.webp"] < LOOP_LIMIT_BYTES


def test_loop_is_animated_and_goes_on() -> None:
    with Image.open(pictures.FOLDER / "dashcam_loop.webp") as loop:
        assert (loop.format, loop.n_frames, loop.info["loop"]) == ("WEBP", gallery.LOOP_FRAMES, 0)  # type: ignore[attr-defined]


def test_gallery_shows_the_figures_of_the_packaged_weights() -> None:
    report = json.loads(gallery.RESULTS.read_text(encoding="utf-8"))
    page = gallery.PAGE.read_text(encoding="utf-8")
    assert gallery.render(page, report) == page
    assert report["weights"] == pictures.weights_digests(("derain", "deblur"))


def test_gallery_describes_what_the_packaged_weights_do() -> None:
    """New weights have to be looked at again; then the page names their digest."""
    page = gallery.PAGE.read_text(encoding="utf-8")
    seen = re.findall(r"^Looked at with the weights `(\w+)`", page, re.MULTILINE)
    assert seen == [pictures.weights_digests(["derain"])["derain"][:12]]


@pytest.fixture
def entry(tmp_path: Path) -> pictures.Entry:
    (tmp_path / "a.webp").write_bytes(b"picture")
    inputs = {"README.md": ROOT / "README.md", "D/videos/a.mp4": ROOT / "LICENSE"}
    return pictures.describe(tmp_path / "a.webp", "make it", inputs, ["derain"])


def test_picture_of_today_is_not_stale(entry: pictures.Entry, tmp_path: Path) -> None:
    assert list(pictures.find_stale({"a.webp": entry}, tmp_path)) == []


def test_other_picture_is_found(entry: pictures.Entry, tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"retouched")
    assert list(pictures.find_stale({"a.webp": entry}, tmp_path)) == [
        "a.webp: is not the picture that make it wrote"
    ]


def test_picture_of_no_command_is_found(entry: pictures.Entry, tmp_path: Path) -> None:
    (tmp_path / "b.webp").touch()
    assert list(pictures.find_stale({"a.webp": entry}, tmp_path)) == ["b.webp: no command made it"]


@pytest.mark.parametrize(
    ("part", "name", "line"),
    [
        ("inputs", "README.md", "a.webp: README.md has changed; run make it"),
        ("weights", "derain.gate", "a.webp: the weights have changed; run make it"),
    ],
)
def test_change_of_what_it_was_made_from_is_found(
    entry: pictures.Entry, tmp_path: Path, part: str, name: str, line: str
) -> None:
    entry[part][name] = "0" * 64
    assert list(pictures.find_stale({"a.webp": entry}, tmp_path)) == [line]


def test_description_for_an_index_needs_no_pictures_and_no_repository() -> None:
    text = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    assert 'readme = "docs/package.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "![" not in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if "://" not in link] == []
