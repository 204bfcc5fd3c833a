"""The container files: what can be told of them without building one."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.scripts import load

ROOT = Path(__file__).parent.parent
DOCKERFILES = sorted(ROOT.glob("docker/Dockerfile.*"))
NEEDED = ("pyproject.toml", "LICENSE", "docs/package.md", "samples/README.md")
"""What a build of the package reads besides its two packages."""


def steps(file: Path) -> list[tuple[str, str]]:
    """The instructions of the last stage."""
    text = re.sub(r"\\\n", " ", file.read_text(encoding="utf-8"))
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#"]
    found = [(word, rest) for word, rest in lines]
    last = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.suffix)
def test_image_is_run_by_a_user_and_says_whether_it_is_well(file: Path) -> None:
    found = dict(steps(file))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["USER"])
    assert "healthcheck.py" in found["HEALTHCHECK"]
    assert found["ENTRYPOINT"] == '["lfdn-video"]'
    words = [word for word, _ in steps(file)]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "ADD" not in words


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [file.suffix for file in DOCKERFILES] == [".cpu", ".cuda"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.suffix)
def test_versions_are_those_of_the_package(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for asked in re.findall(r'"(torch|opencv-python)(?:-headless)?([<>=][^"]*)"', text):
        assert f'"{"".join(asked)}"' in project
    (python,) = set(re.findall(r"^FROM python:(3\.\d+)-slim", text, re.MULTILINE))
    assert f"Python :: {python}" in project


def test_build_gets_what_it_needs_and_nothing_else() -> None:
    assert ignored()[0] == "*"
    let_in = [line[1:] for line in ignored() if line.startswith("!")]
    assert {*NEEDED, "lfdn", "lfdn_video"} <= set(let_in)
    assert all((ROOT / name).exists() for name in let_in)
    for file in DOCKERFILES:
        for source in re.findall(r"^COPY (?!--from)(\S+)", file.read_text(), re.MULTILINE):
            assert source == "." or any(fnmatch(source, name) for name in let_in)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("words", "path", "code"),
    [
        ("lfdn-video serve cameras.toml", "/healthz", 0),
        ("lfdn-video serve cameras.toml", "/ill", 1),
        ("lfdn-video live 0 --web", "/ill", 1),
    ],
)
def test_page_is_asked(
    page: str, words: str, path: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_URL", page + path)
    command = tmp_path / "cmdline"
    command.write_text(words.replace(" ", "\0"))
    assert load("docker/healthcheck.py").main(command) == code


@pytest.mark.parametrize(
    ("words", "code"), [("lfdn-video derain a b", 0), ("lfdn-video serve c.toml", 1)]
)
def test_without_an_address_only_a_page_is_asked(
    words: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens at the address where the page would be."""
    monkeypatch.delenv("HEALTH_URL", raising=False)
    script = load("docker/healthcheck.py")
    monkeypatch.setattr(script, "DEFAULT_URL", "http://127.0.0.1:9/healthz")
    command = tmp_path / "cmdline"
    command.write_text(words.replace(" ", "\0"))
    assert script.main(command) == code


def test_health_check_needs_python_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "docker" / "healthcheck.py"],
        env={"HEALTH_URL": ""},
        check=False,
    )
    assert done.returncode == 0
