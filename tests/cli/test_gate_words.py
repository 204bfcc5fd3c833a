"""What the command line says of the dry gate."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from lfdn_video.cli.commands import main
from lfdn_video.cli.formatting import format_progress, format_summary
from lfdn_video.copying import Finding, GateSummary, Segment
from tests.support import runs


def make_segment(start_s: float, finding: Finding) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=start_s + 4,
        start_pts=0,
        end_pts=100,
        first=0,
        packets=100,
        finding=finding,
    )


def test_summary_names_copied_parts_once() -> None:
    findings: tuple[Finding, ...] = ("dry", "dry", "rain", "dry")
    segments = tuple(make_segment(4 * number, each) for number, each in enumerate(findings))
    gate = GateSummary(copied_frames=300, segments=segments)
    line = format_summary(replace(runs.summary(), gate=gate))
    assert "copied: 300 frames (0:00-0:08, 0:12-0:16), 3 of 4 segments dry" in line


def test_summary_says_that_nothing_was_copied() -> None:
    line = format_summary(replace(runs.summary(), gate=GateSummary(off="it is interlaced")))
    assert "nothing copied" in line


def test_progress_says_where_rain_is_looked_for() -> None:
    progress = replace(runs.progress(), looked_at=(2, 7))
    assert format_progress(progress) == "looking for rain: segment 2 of 7"


@pytest.mark.parametrize("many", [False, True])
def test_deblur_refuses_the_gate_with_its_reason(many: bool, tmp_path: object) -> None:
    sources = ["samples/rotated.mp4"] * (1 + many)
    command = ["deblur", *sources, "-o", f"{tmp_path}/out", "--only-when-needed"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "only when needed: is for derain" in result.output
