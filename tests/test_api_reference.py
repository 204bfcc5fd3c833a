"""`docs/api.md` is made from the docstrings of today, and the command that makes it works."""

from dataclasses import dataclass

import pytest

from tests.support.scripts import ROOT, load

make_api = load("docs/make_api.py")
PAGE = ROOT / "docs" / "api.md"


def test_reference_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == make_api.render_page(), "run: python docs/make_api.py"


@pytest.mark.parametrize("package", make_api.PACKAGES)
def test_reference_has_every_public_name(package: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    public = set(__import__(package, fromlist=["__all__"]).__all__)
    assert {name for name in public if f"\n### {package}.{name}\n" not in page} == set()


def test_google_sections_become_lists() -> None:
    text = """Do it.

    Args:
        size_px: side of a tile,
            in pixels.
        name: any.

    Returns:
        What was done.

    Raises:
        ValueError: never.
    """
    assert make_api.render_docstring(text).split("\n\n") == [
        "Do it.",
        "**Args**",
        "- `size_px`: side of a tile, in pixels.\n- `name`: any.",
        "**Returns**",
        "What was done.",
        "**Raises**",
        "- `ValueError`: never.",
    ]


@dataclass
class Size:
    """The size of a tile.

    Args:
        width_px: its width,
            in pixels.
        height_px: replaced by the string below the field.

    Raises:
        ValueError: never.
    """

    width_px: int
    height_px: int = 2
    """Its height."""

    @property
    def area_px(self) -> int:
        """Width times height."""
        return self.width_px * self.height_px


def test_fields_have_their_descriptions() -> None:
    assert "\n\n".join(filter(None, make_api.render_object(Size))).split("\n\n") == [
        "The size of a tile.",
        "**Raises**",
        "- `ValueError`: never.",
        "**Fields**",
        "- `width_px: int`: its width, in pixels.\n- `height_px: int = 2`: Its height.",
        "**Properties**",
        "- `area_px: int`: Width times height.",
    ]


def test_long_signatures_have_an_argument_per_line() -> None:
    def several(source: "str | int", target: str, *, first: int = 1, second: float = 2.5) -> None:
        """Documented."""

    assert make_api.render_signature(make_api.definition_of(several)) == (
        "```python\nseveral(\n    source: str | int,\n    target: str,\n    *,\n"
        "    first: int = 1,\n    second: float = 2.5,\n) -> None\n```"
    )
