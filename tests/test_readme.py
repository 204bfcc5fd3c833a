"""README and docs keep their word: Python runs, commands exist, links lead somewhere."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import lfdn.cli
import lfdn_video.cli.commands
from lfdn_video.inference import engine
from tests.support.fakes import identity_engine

ROOT = Path(__file__).parent.parent
GUIDES = (
    "README.md",
    "docs/data.md",
    "docs/training.md",
    "docs/evaluation.md",
    "docs/live.md",
    "docs/watching.md",
)
PROGRAMS: dict[str, click.Group] = {"lfdn-video": lfdn_video.cli.main, "lfdn": lfdn.cli.main}


def blocks(*languages: str) -> Iterator[str]:
    for guide in GUIDES:
        text = (ROOT / guide).read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language in languages:
                yield block


def commands() -> Iterator[str]:
    """Every command line of the guides that calls one of our programs."""
    for block in blocks("console", "bash", "sh"):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            for part in re.split(r"&&|\||;", line.removeprefix("$ ")):
                program = part.strip().partition(" ")[0].rpartition("/")[2]
                if program in PROGRAMS:
                    yield part.partition("#")[0].strip()


def links() -> Iterator[Path]:
    for guide in GUIDES:
        text = (ROOT / guide).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                yield (ROOT / guide).parent / target.partition("#")[0]


@pytest.mark.parametrize("block", list(blocks("python")))
def test_python_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the samples, and with a network that changes nothing: this is about the text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())
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
    assert words[0] in group.commands, f"{line}: no such command"
    if "--help" not in words:
        group.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=False)


def test_nothing_is_left_to_fill_in() -> None:
    written = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("lfdn/weights/*.md")]
    assert [file.name for file in written if "@@" in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("target", sorted(set(links())))
def test_links_lead_somewhere(target: Path) -> None:
    assert target.exists()
