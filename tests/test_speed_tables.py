"""The README says what the results say."""

from pathlib import Path
from typing import Any

from benchmarks.tables import load, rendered

README = Path(__file__).parent.parent / "README.md"
MARKED = "before\n<!-- suite:cpu -->\nold\n<!-- /suite:cpu -->\nafter\n"


def report() -> dict[str, Any]:
    row = {"name": "720p", "seconds": 1.0, "gflops": 50.0, "largest_difference": 0.001}
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
        "clips": [],
    }


def test_the_readme_agrees_with_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert rendered(text, load()) == text


def test_the_readme_has_both_markers() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"<!-- suite:{device} -->" in text for device in ("cpu", "cuda"))


def test_what_is_not_between_markers_stays() -> None:
    text = rendered(MARKED, {"cpu": report()})
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text


def test_ratios_and_shares_are_told() -> None:
    text = rendered(MARKED, {"cpu": report()})
    assert "| **default**, float32 | 0.500 (×2.00) | 100% | 0.255 / 255 |" in text
    assert "A CPU, 2 cores (AVX2)" in text


def test_a_device_without_results_says_so() -> None:
    assert "CPU: not measured yet" in rendered(MARKED, {})


def test_rendering_twice_changes_nothing() -> None:
    once = rendered(MARKED, {"cpu": report()})
    assert rendered(once, {"cpu": report()}) == once
