"""The figures of README.md are those of the packaged weights."""

from benchmarks.quality import PAGE, find_stale, load_results, render, render_table
from tests.support.scripts import ROOT


def test_results_are_of_the_packaged_weights() -> None:
    assert list(find_stale(load_results())) == [], "run: python -m benchmarks.quality D"


def test_table_agrees_with_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "<!-- quality -->" in page
    assert render(page, load_results()) == page, "run: python -m benchmarks.quality --table"


def test_result_of_other_weights_is_found() -> None:
    results = load_results()
    results["rain100l"]["weights"]["sha256"] = "0" * 64
    assert list(find_stale(results)) == ["rain100l"]


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
