"""`docs/cli.md` and the man pages are made from the commands of today, and hold every option."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click_man.core import write_man_pages

from tests.support.scripts import ROOT, load

make_cli = load("docs/make_cli.py")
PAGE = ROOT / "docs" / "cli.md"
MAN_MACROS = {".TH", ".SH", ".PP", ".TP", ".B"}


def commands() -> Iterator[tuple[str, click.Command]]:
    for program, group in make_cli.PROGRAMS.items():
        yield program, group
        for name, command in make_cli.list_commands(group):
            yield f"{program} {name}", command


def long_options(command: click.Command) -> list[str]:
    """The first long name of each option; the second may be an old one that `--help` hides."""
    options = (each for each in command.params if isinstance(each, click.Option))
    return [next(name for name in each.opts if name.startswith("--")) for each in options]


def test_reference_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == make_cli.render_page(), "run: python docs/make_cli.py"


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda each: str(each))
def test_reference_has_every_option(path: str, command: click.Command) -> None:
    section = re.search(
        rf"^##+ {path}\n(.*?)(?=^##|\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert section is not None
    assert [name for name in long_options(command) if name not in section[1]] == []


def test_links_of_the_contents_lead_to_headings() -> None:
    page = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^##+ (.*)$", page, re.MULTILINE)
    anchors = {heading.replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]*)\)", page)) == anchors


def test_text_of_help_is_escaped() -> None:
    assert make_cli.escape("'dog/*' of  0<x;\nsee docs/data.md") == (
        "'dog/\\*' of 0\\<x; see [docs/data.md](data.md)"
    )


def test_every_command_has_a_short_help() -> None:
    """A man page's summary; without one, click-man cuts the help off, by a function that goes."""
    assert [path for path, command in commands() if not command.short_help] == []


@pytest.mark.parametrize("program", make_cli.PROGRAMS)
def test_man_pages_have_every_option(program: str, tmp_path: Path) -> None:
    write_man_pages(program, make_cli.PROGRAMS[program], version="1", target_dir=str(tmp_path))
    for path, command in commands():
        if path.split()[0] != program:
            continue
        page = (tmp_path / f"{path.replace(' ', '-')}.1").read_text(encoding="utf-8")
        names = [name.replace("-", r"\-") for name in long_options(command)]
        assert [name for name in names if name not in page] == []
        # A line that begins like a macro would vanish.
        macros = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        assert macros <= MAN_MACROS
