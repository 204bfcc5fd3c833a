"""Figures that stand in sentences of the docs are those of the committed results."""

import json
from typing import Any

import pytest

from tests.support.scripts import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def on_rain100l(name: str) -> float:
    return float(read(name)["output_psnr_y"])


def network_s(backend: str) -> float:
    """Seconds of the network for a 720p frame, on the machine of the README's table."""
    rows = read("suite_cpu")["network"]
    return next(float(r["seconds"]) for r in rows if (r["name"], r["backend"]) == ("720p", backend))


def probed(probe: str, key: str, name: str, value: float) -> float:
    """The figure of a kind of rain or blur."""
    for row in read(probe)["rows"]:
        if (row["property"], row["value"]) == (name, value):
            return float(row[key])
    raise KeyError(f"{probe}: {name} {value}")


def rain_left(name: str, value: float) -> float:
    return 100 * probed("rain_probe", "pictures", name, value)


def lite_left(name: str, value: float) -> float:
    return 100 * probed("rain_probe_lite", "pictures", name, value)


def compare_precisions(network: str) -> str:
    """Frames/s in bfloat16, and in float32."""
    rows = [row for row in read("precisions")["speeds"] if row["network"] == network]
    fps = {row["precision"]: row["fps"] for row in rows}
    return f"{fps['bfloat16']:.1f} instead of {fps['float32']:.1f}"


def latencies(part: str) -> str:
    """Medians of the good cameras, beside a real network."""
    cameras = read("serve_lite")[part]["cameras"]
    first, second = (cameras[name]["latency_s"]["median"] for name in ("good_1", "good_2"))
    return f"{first:.3f} and {second:.3f}"


def blur_gain(length_px: float) -> float:
    return probed("blur_probe", "gain_db", "length_px", length_px)


def list_sentences() -> list[tuple[str, str]]:
    """Pages, and what has to stand in them, however its lines are broken."""
    full, lite, int8 = (on_rain100l(f"rain100l{form}") for form in ("", "_lite", "_int8"))
    deblur, deblur_lite = (
        read(name)["output_psnr_rgb"] for name in ("video_reds_small", "reds_small_lite")
    )
    stage_s = read("temporal_cost")["sizes"]["720p"]["added_cpu_ms"] / 1000
    probe = [rain_left("coverage", share) for share in (0.0005, 0.002, 0.03)]
    one, node, two = (row["frames_per_s"] for row in read("cluster")["rows"])
    live = [row["latency_s"]["max"] for row in read("live_stage").values()]
    in_batches, alone = (
        next(
            row["frames/s"]
            for row in read("gpu")["sections"]["frames"]
            if (row["batch"], row["run"]) == (batch, "second")
        )
        for batch in ("auto", 1)
    )
    sharp_db = sum(read("blur_probe")["sharp_db"]) / len(read("blur_probe")["sharp_db"])
    card = "lfdn/weights/MODEL_CARD.md"
    good, with_bad = (latencies(part) for part in ("alone", "beside_bad_ones"))
    left = {value: lite_left("coverage", value) for value in (0.002, 0.03)}
    sharp = [part["psnr_y_db"] for part in read("sharp_dog")["parts"]]
    return [
        ("docs/faster.md", f"the full network makes {compare_precisions('full')} frames/s of 720p"),
        ("docs/faster.md", f"lite {compare_precisions('lite')}"),
        ("docs/benchmarks.md", f"is {good} s alone, {with_bad} s beside the bad ones"),
        (card, f"| restored | {lite:.2f} dB |"),
        (card, f"{deblur_lite:.2f} dB restored"),
        (card, f"coverage of 0.2 % leaves {left[0.002]:.0f} %, 3 % {left[0.03]:.0f} %"),
        (card, f"the sharpest quarter of the frames comes back at {sharp[0]:.2f} dB on Y"),
        (card, f"the second at {sharp[1]:.2f} dB, the third at {sharp[2]:.2f} dB"),
        (
            "docs/faster.md",
            f"{network_s('int8'):.2f} instead of {network_s('default'):.2f} s per 720p",
        ),
        ("docs/faster.md", f"loses {full - int8:.2f} dB on Rain100L"),
        ("docs/faster.md", f"{lite:.2f} dB on Rain100L instead of {full:.2f} dB"),
        (
            "docs/faster.md",
            f"it has {deblur_lite:.2f} dB on REDS, the full network {deblur:.2f} dB",
        ),
        ("README.md", f"about {stage_s:.2f} s more of one core per 720p frame"),
        ("docs/guide.md", f"about {stage_s:.2f} s of one core per 720p frame"),
        (
            "docs/evaluation.md",
            f"leave {probe[0]:.0f} % of the rain that covers 0.05 % of an image",
        ),
        ("docs/evaluation.md", f"{probe[1]:.0f} % at 0.2 % and {probe[2]:.0f} % at 3 %"),
        ("docs/evaluation.md", f"{rain_left('slant_deg', 60):.0f} % of what is slanted by 60°"),
        ("docs/evaluation.md", f"gain {blur_gain(2):.1f} dB at 2 px, {blur_gain(8):.1f} at 8 px"),
        ("docs/evaluation.md", f"{blur_gain(12):.1f} at 12 px and {blur_gain(36):.1f} at 36 px"),
        ("docs/evaluation.md", f"sharp images come back at {sharp_db:.1f} dB"),
        (
            "docs/fleet.md",
            f"One process makes {one:.1f} frames/s, one node {node:.1f}, two nodes {two:.1f}",
        ),
        ("docs/fleet.md", f"which is {two / node:.2f} times as much"),
        (
            "docs/serve.md",
            f"{in_batches:.0f} frames/s in batches, {alone:.0f} one by one",
        ),
        (
            "docs/benchmarks.md",
            f"no frame older than {live[0]:.2f} and {live[1]:.2f} s of the 1.0 s",
        ),
    ]


@pytest.mark.parametrize(("page", "sentence"), list_sentences())
def test_sentence_has_the_figure_of_the_result(page: str, sentence: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert sentence in text
