"""README and docs keep their word: Python runs, commands exist, links and messages are real."""

import ast
import re
import shlex
import shutil
import tomllib
from codeop import compile_command
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import lfdn.cli
import lfdn_video.cli.commands
from lfdn_video.inference import engine
from tests.support.fakes import identity_engine

ROOT = Path(__file__).parent.parent
WRITTEN_BY_COMMAND = ("docs/api.md", "docs/cli.md")
PAGES = tuple(
    page
    for page in ("README.md", *(f"docs/{file.name}" for file in sorted(ROOT.glob("docs/*.md"))))
    if page not in WRITTEN_BY_COMMAND
)
LINKED = (
    *PAGES,
    *WRITTEN_BY_COMMAND,
    "CONTRIBUTING.md",
    "SECURITY.md",
    "samples/README.md",
)
PROGRAMS: dict[str, click.Group] = {"lfdn-video": lfdn_video.cli.main, "lfdn": lfdn.cli.main}
ELIDED = "..."  # a command in the log that repeats most of the one before


def blocks(*languages: str) -> Iterator[str]:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language in languages:
                yield block


def commands() -> Iterator[str]:
    """Every command line of the pages that calls one of our programs."""
    for block in blocks("console", "bash", "sh"):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            for part in re.split(r"&&|\||;", line.removeprefix("$ ")):
                program = part.strip().partition(" ")[0].rpartition("/")[2]
                if program in PROGRAMS and ELIDED not in part:
                    yield part.partition("#")[0].strip()


def links() -> Iterator[Path]:
    for page in LINKED:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                yield (ROOT / page).parent / target.partition("#")[0]


@pytest.mark.parametrize("block", list(blocks("python")))
def test_python_can_be_pasted(block: str) -> None:
    """Interactive Python up to 3.12 needs an empty line at the end of a block."""
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        if compile_command("\n".join(lines), symbol="single") is not None:
            lines = []


@pytest.mark.parametrize("block", list(blocks("python")))
def test_python_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the samples, and with a network that changes nothing: this is about the text."""
    monkeypatch.chdir(tmp_path)
    for module in (lfdn_video, engine):  # lfdn_video takes it from engine when first asked
        monkeypatch.setattr(module, "load_engine", lambda *_, **__: identity_engine())
    shutil.copytree(ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("*.py"))
    for name in re.findall(r'(?:restore|restored_frames|open_reader)\("([\w-]+\.\w+)"', block):
        shutil.copy(ROOT / "samples" / "cut_short.mp4", tmp_path / name)
    exec(compile(block, "guide", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("line", list(commands()))
def test_commands_parse(line: str) -> None:
    program, *words = shlex.split(line)
    group = PROGRAMS[program.rpartition("/")[2]]
    if not words or words[0] in ("--help", "--version"):
        return
    assert words[0] in group.commands or words[0] == "COMMAND", f"{line}: no such command"
    if "--help" not in words:
        group.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=False)


def test_nothing_is_left_to_fill_in() -> None:
    written = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("lfdn/weights/*.md")]
    assert [file.name for file in written if "@@" in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("target", sorted(set(links())))
def test_links_lead_somewhere(target: Path) -> None:
    assert target.exists()


def test_citation_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {file.name for file in ROOT.glob("docs/*.md")} - {"README.md"}
    assert {page for page in pages if f"[{page}]({page})" not in index} == set()


def rooms() -> dict[str, set[str]]:
    """The modules that docs/architecture.md names, by room."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### `(\S+)/`\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    return {
        room: set(re.findall(r"^\| `(\w+\.py)`", rows, re.MULTILINE)) for room, rows in sections
    }


def test_architecture_names_every_module() -> None:
    files = [*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")]
    found: dict[str, set[str]] = {}
    for file in files:
        if not file.name.startswith("__"):
            found.setdefault(str(file.parent.relative_to(ROOT)), set()).add(file.name)
    assert rooms() == found


def spoken() -> Iterator[str]:
    """Every string of the product; what is filled in at run time is a `…`."""
    for file in [*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
                yield "".join(parts)


SPOKEN_BY_OTHERS = {"lfdn-video: command not found", "libGL.so.1: cannot open shared object file"}


def test_troubleshooting_quotes_messages_of_today() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)) - SPOKEN_BY_OTHERS
    everything = "\n".join(spoken())
    assert quoted
    assert {message for message in quoted if message not in everything} == set()
