"""The report as a file: what it says, its size, and that it needs nothing else."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lfdn_video.checks import Check
from lfdn_video.errors import OptionError, OutputError
from lfdn_video.files import Inputs
from lfdn_video.review import pictures, report
from lfdn_video.review.plots import Line, Plot, format_time
from lfdn_video.review.report import RunFacts, check_report, write_report
from tests.support import drawn, runs

SCRIPT = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects the elements of a page, and every address in their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "poster"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A source with streaks, a result without, and where the report goes."""
    clean = drawn.still(12)
    rainy = [frame.copy() for frame in clean]
    for number, frame in enumerate(rainy):
        frame[10:60, 5 * number : 5 * number + 3] += 30
    return (
        drawn.write(tmp_path / "rainy.mkv", rainy),
        drawn.write(tmp_path / "dry.mkv", clean),
        tmp_path / "out.html",
    )


def page_of(files: tuple[Path, Path, Path], run: RunFacts | None = None) -> str:
    write_report(*files, run=run)
    return files[2].read_text(encoding="utf-8")


def test_nothing_is_loaded(files: tuple[Path, Path, Path]) -> None:
    page = page_of(files)
    elsewhere = [a for a in Tags(page).addresses if not a.startswith(("data:", "#"))]
    assert elsewhere == []
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_are_unique(files: tuple[Path, Path, Path]) -> None:
    ids = Tags(page_of(files)).ids
    assert len(ids) > 20
    assert len(ids) == len(set(ids))


def test_what_the_run_knows_is_told(files: tuple[Path, Path, Path]) -> None:
    run = RunFacts(
        task="derain",
        command="lfdn-video derain rainy.mkv",
        summary=runs.summary(
            "rainy.mkv: lost", dropped={"too dark": 3}, network={"model": "c0ffee"}
        ),
        checks=[Check("frames", "ok", "12 of 12"), Check("tags", "failed", "one is lost")],
    )
    page = page_of(files, run)
    for word in ("c0ffee", "lfdn-video derain rainy.mkv", "too dark", "rainy.mkv: lost", "9.5 s"):
        assert word in page
    assert "1 failed" in page
    assert "one is lost" in page


def test_report_without_a_run_says_what_is_unknown(files: tuple[Path, Path, Path]) -> None:
    page = page_of(files)
    assert "a file does not say by which weights" in page
    assert "Where the time went" not in page


def test_names_and_messages_are_escaped(files: tuple[Path, Path, Path]) -> None:
    page = page_of(files, RunFacts(command=SCRIPT, checks=[Check("tags", "ok", SCRIPT)]))
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)" in page


def test_policy_allows_its_own_script_alone(files: tuple[Path, Path, Path]) -> None:
    page = page_of(files)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:;")
    assert "'unsafe-inline'" not in policy[1].partition("script-src")[2]


def test_reference_adds_quality(files: tuple[Path, Path, Path]) -> None:
    assert "Rain left" not in page_of(files)
    write_report(*files, reference=files[1], overwrite=True)
    page = files[2].read_text(encoding="utf-8")
    assert ">Rain left<" in page
    assert "cannot be told without" not in page


def test_single_image_has_a_report_without_plots(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a.png", "b.png"):
        Image.fromarray(drawn.texture()).save(tmp_path / name)
    write_report(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "1 frame<" in page
    assert "Over time" not in page


def test_pictures_keep_to_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    noise = [random.integers(0, 255, (720, 1280), np.uint8) for _ in range(3)]
    files = (drawn.write(tmp_path / "a.mkv", noise), drawn.write(tmp_path / "b.mkv", noise))
    full = write_report(*files, tmp_path / "full.html")
    monkeypatch.setattr(pictures, "LIMIT_BYTES", full // 4)
    assert write_report(*files, tmp_path / "small.html") < full // 2
    assert "px wide here, 1280 px in the video" in (tmp_path / "small.html").read_text()


def test_missing_extra_says_what_to_install(
    files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r"needs Jinja2 and matplotlib; .*lfdn-video\[report\]"):
        write_report(*files)
    assert not files[2].exists()


def test_inputs_and_existing_files_are_not_replaced(files: tuple[Path, Path, Path]) -> None:
    with pytest.raises(OutputError):
        check_report(files[0], Inputs(files[:2]), overwrite=True)
    files[2].write_text("mine")
    with pytest.raises(OutputError):
        write_report(*files)
    assert files[2].read_text() == "mine"


class TestPlot:
    def plot(self, count: int = 5) -> Plot:
        values = [float(number % 4) for number in range(count)]
        return Plot("Change", "of 255", range(count), (Line("result", values),))

    def test_svg_takes_its_colours_from_the_page(self) -> None:
        svg = self.plot().draw()
        assert "var(--accent)" in svg
        assert re.findall(r"#[0-9a-f]{6}", svg) == []
        assert "<style" not in svg

    def test_length_of_the_video_does_not_grow_the_plot(self) -> None:
        assert len(self.plot(200_000).draw()) < 60_000

    def test_summary_says_it_in_words(self) -> None:
        assert self.plot().summary == ("Change, of 255: result 1.2 on average, from 0.0 to 3.0.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (1.16, "1.16 s"), (59.5, "59.5 s"), (60, "1:00"), (3665, "1:01:05")],
)
def test_times(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
