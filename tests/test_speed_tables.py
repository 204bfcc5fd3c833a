"""README.md and docs/benchmarks.md show what the results say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import PAGES, load_reports, render

SUITE = "before\n<!-- suite:cpu -->\nold\n<!-- /suite:cpu -->\nafter\n"
SPEED = "before\n<!-- speed:cpu -->\nold\n<!-- /speed:cpu -->\nafter\n"


def report() -> dict[str, Any]:
    row = {"name": "720p", "seconds": 1.0, "gflops": 50.0, "largest_difference": 0.001}
    clip = {"name": "720p", "size": "1280x720", "frames": 10, "peak_mib": 700}
    seconds = {"decode": 0.1, "colour": 0.1, "model": 5.0, "encode": 0.8, "end to end": 6.0}
    return {
        "device": "cpu",
        "rounds": 3,
        "machine": {
            "cpu": "A CPU",
            "threads": 2,
            "instructions": "AVX2",
            "gpu": None,
            "torch": "2.0",
            "commit": "abc",
        },
        "ceilings": {"float32_gflops": 100.0, "bfloat16_gflops": 150.0, "copy_gb_per_s": 20.0},
        "network": [
            {**row, "backend": "reference", "speed_up": 1.0},
            {**row, "backend": "default", "seconds": 0.5, "gflops": 100.0, "speed_up": 2.0},
        ],
        "clips": [
            {
                **clip,
                "median_s": seconds,
                "share_of_ceiling": dict.fromkeys(seconds, 0.5),
                "end_to_end_over_sum": 1.0,
                "cores_busy": 0.97,
            }
        ],
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_agree_with_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert render(text, load_reports()) == text


@pytest.mark.parametrize(("page", "kind"), [*zip(PAGES, ("speed", "suite"), strict=True)])
def test_pages_have_a_marker_for_each_device(page: Path, kind: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert all(f"<!-- {kind}:{device} -->" in text for device in ("cpu", "cuda"))


@pytest.mark.parametrize("marked", [SUITE, SPEED])
def test_text_outside_the_markers_stays(marked: str) -> None:
    text = render(marked, {"cpu": report()})
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text


def test_full_tables_show_ratios_and_shares() -> None:
    text = render(SUITE, {"cpu": report()})
    assert "| **default**, float32 | 0.500 (×2.00) | 100% | 0.255 / 255 |" in text
    assert "| 720p | 10.0 (50%) |" in text
    assert "A CPU, 2 cores (AVX2)" in text


def test_short_table_shows_milliseconds_per_frame() -> None:
    text = render(SPEED, {"cpu": report()})
    assert "| 720p (1280×720) | 600 | 500 | – | 700 MiB |" in text
    assert "A CPU, 2 cores (AVX2)" in text


@pytest.mark.parametrize("marked", [SUITE, SPEED])
def test_device_without_results_says_so(marked: str) -> None:
    assert "CPU: not measured yet" in render(marked, {})


@pytest.mark.parametrize("marked", [SUITE, SPEED])
def test_rendering_twice_changes_nothing(marked: str) -> None:
    once = render(marked, {"cpu": report()})
    assert render(once, {"cpu": report()}) == once


def gpu_report() -> dict[str, Any]:
    engine = {"size": "720p", "batch": 1, "form": "engine", "frames/s": 650.5}
    return {
        "machine": {"gpu": "A GPU", "torch": "2.0", "commit": "abc"},
        "sections": {"network": [engine], "video": [], "kernels": [{"us": 1.5, "kernel": "conv"}]},
        "failed": {"video": "ModuleNotFoundError: No module named 'av'"},
    }


def test_tables_of_a_gpu_show_each_section_and_what_failed() -> None:
    text = render(SUITE.replace("cpu", "cuda"), {"cuda": gpu_report()})
    assert "A GPU, PyTorch 2.0, commit `abc`." in text
    assert "| 1.5 | conv |" in text
    assert "*video*: ModuleNotFoundError: No module named 'av'" in text


def test_short_table_of_a_gpu_shows_frames_per_second() -> None:
    text = render(SPEED.replace("cpu", "cuda"), {"cuda": gpu_report()})
    assert "| 720p | 1 | 650.5 | – |" in text


def test_rain_is_shown_in_each_mode() -> None:
    scores = {"psnr_y": 30.0, "worst_psnr_y": 28.0, "ssim_y": 0.9, "flicker": 4.0}
    sequences = [
        {
            "mode": mode,
            "frames": 60,
            "input": scores,
            "network": scores,
            "stage": {**scores, "psnr_y": db},
        }
        for mode, db in (("offline", 37.5), ("delay-0", 36.0))
    ]
    report = {"weights": 64 * "a", "machine": {"commit": "abc"}, "sequences": sequences}
    text = render("<!-- rain:a1 -->\nold\n<!-- /rain:a1 -->", {"a1": report})
    assert "*60 frames, weights `aaaaaaaaaaaa`, commit `abc`.*" in text
    assert "| source | 30.00 dB | 28.00 dB | 0.900 | 4.00 |" in text
    assert "| `derain` | 37.50 dB |" in text
    assert "| as `live` | 36.00 dB |" in text
    assert "not measured yet" in render("<!-- cost:stage -->\n<!-- /cost:stage -->", {})


MACHINE = {"cpu": "A CPU", "threads": 2, "instructions": "AVX2", "torch": "2.0", "commit": "abc"}


def test_estimates_are_shown_with_their_errors() -> None:
    row = {"clip": "360p", "frames": 50, "estimated_s": 60.0, "took_s": 64.0, "error": -0.0625}
    report = {**MACHINE, "rows": [{**row, "cores_first": 1.9, "cores_rest": 1.8}]}
    text = render("<!-- told:foresight -->\nold\n<!-- /told:foresight -->", {"foresight": report})
    assert "| 360p | 50 | 60.0 s | 64.0 s | -6.2% | 1.90, 1.80 |" in text
    assert "A CPU, 2 cores (AVX2), PyTorch 2.0, commit `abc`" in text


def test_badge_that_never_appeared_is_a_dash() -> None:
    seconds = {"badge_after_s": None, "badge_gone_after_s": 0.0, "temporal_back_after_s": 2.5}
    scales = {"scale_before": 1.0, "least_scale": 0.5, "processes": 4, "busy_s": 30.0}
    report = {**MACHINE, **seconds, **scales, "scale_back_after_s": 6.04}
    text = render("<!-- told:load -->\nold\n<!-- /told:load -->", {"load": report})
    assert "| the badge appears (since the load began) | – |" in text
    assert "| the scale is as before | 6.0 s |" in text
    assert "4 busy processes for 30 s; scale 1, under load at least 0.5." in text
