"""The figures of README.md are those of the packaged weights."""

import json
from pathlib import Path

from benchmarks.pictures import weights_digests
from benchmarks.quality import (
    PAGE,
    STAGE,
    STAGE_RESULTS,
    find_stale,
    find_stale_stages,
    load_results,
    render,
    render_table,
)
from tests.support.scripts import ROOT


def test_results_are_of_the_packaged_weights() -> None:
    assert list(find_stale(load_results())) == [], "run: python -m benchmarks.quality D"


def test_results_of_the_temporal_stage_are_of_the_packaged_gate() -> None:
    assert list(find_stale_stages()) == [], "run: python -m benchmarks.temporal; docs/benchmarks.md"


def test_result_of_another_gate_is_found(tmp_path: Path) -> None:
    results = load_results()
    results[STAGE]["weights"]["gate"] = "0" * 64
    assert list(find_stale(results)) == [STAGE]
    digests = weights_digests(["derain"])
    current = {"weights": digests["derain"], "gate": digests["derain.gate"]}
    found: list[dict[str, str]] = [current, current | {"gate": "0" * 64}, {"weights": "0" * 64}]
    for name, result in zip(STAGE_RESULTS, found, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    assert list(find_stale_stages(tmp_path)) == list(STAGE_RESULTS[1:])


def test_table_agrees_with_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "<!-- quality -->" in page
    assert render(page, load_results()) == page, "run: python -m benchmarks.quality --table"


def test_result_of_other_weights_is_found() -> None:
    current = {"name": "derain", "sha256": weights_digests(["derain"])["derain"]}
    results = {"a": {"weights": current}, "b": {"weights": current | {"sha256": "0" * 64}}, "c": {}}
    assert list(find_stale(results)) == ["b", "c"]


def test_figures_and_text_around_them_are_kept_apart() -> None:
    results = load_results()
    results["rain100l"]["output_psnr_y"] = 12.345
    text = render("above\n<!-- quality -->\nold\n<!-- /quality -->\nbelow\n", results)
    assert text == f"above\n<!-- quality -->\n{render_table(results)}\n<!-- /quality -->\nbelow\n"
    assert "12.35 dB" in text or "12.34 dB" in text
    assert "old" not in text


def test_model_card_has_the_figures_of_the_readme() -> None:
    card = (ROOT / "lfdn" / "weights" / "MODEL_CARD.md").read_text(encoding="utf-8")
    rain = load_results()["rain100l"]
    assert f"**{rain['output_psnr_y']:.2f} dB**" in card
    assert f"{rain['output_psnr_rgb']:.2f} dB" in card
