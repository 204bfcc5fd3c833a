"""`serve`: its file, with one clear line for whatever is wrong, and the program itself."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

from lfdn_video.cli import main
from lfdn_video.cli.serve_config import (
    ENCODE,
    EVERY_CAMERA,
    LIVE,
    NETWORK,
    OWN,
    RECORDING,
    WEB,
    ServeConfig,
    read_config,
)
from lfdn_video.cli.serve_view import make_table
from lfdn_video.cli.supervisor import Supervisor
from lfdn_video.stream.board import Status
from tests.support.programs import tiny_weights

CAMERA = '[cameras.door]\nsource = "lavfi:testsrc2=size=64x48:rate=10"\n'
FULL = """
[network]
device = "cpu"
precision = "float32"
tile = 256

[web]
address = "0.0.0.0:8080"
token = "${PAGE_TOKEN}"

[recording]
folder = "video"
container = "mp4"
rotate = "15m"
keep_for = "14d"
keep_size = "1.5 TB"

[encode]
crf = 23
options = { "x264-params" = "aq-mode=1" }

[defaults]
max_latency = 0.5
prefer = "quality"

[cameras.door]
source = "rtsp://user:${DOOR_PASSWORD}@10.0.0.7/stream1"
stall_timeout = "5s"

[cameras.yard]
source = 1
task = "deblur"
max_latency = "2s"
record = false
out = "rtsp://10.0.0.9/yard"
input_options = { video_size = "1280x720", framerate = 30 }
"""

Check = Callable[..., "tuple[int, str]"]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run `serve --check` on a text; return the exit code and what it said."""

    def run(text: str) -> tuple[int, str]:
        file = tmp_path / "c.toml"
        file.write_text(text)
        result = CliRunner().invoke(main, ["serve", str(file), "--check"])
        return result.exit_code, result.output.replace(f"{tmp_path}/", "").strip()

    return run


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServeConfig:
    monkeypatch.setenv("PAGE_TOKEN", "a long token")
    monkeypatch.setenv("DOOR_PASSWORD", "swordfish")
    file = tmp_path / "c.toml"
    file.write_text(FULL)
    return read_config(file)


def test_every_value_arrives(full: ServeConfig, tmp_path: Path) -> None:
    plan, recording = full.plan, full.plan.recording
    door, yard = plan.cameras
    assert door.source.address == "rtsp://user:swordfish@10.0.0.7/stream1"
    assert (door.options.max_latency_s, door.options.prefer) == (0.5, "quality")
    assert (door.options.stall_timeout_s, door.record, door.task) == (5.0, True, "derain")
    assert (yard.source.kind, yard.task, yard.record) == ("camera", "deblur", False)
    assert (yard.options.max_latency_s, yard.options.prefer) == (2.0, "quality")
    assert yard.options.input_options == {"video_size": "1280x720", "framerate": "30"}
    assert yard.out == "rtsp://10.0.0.9/yard"
    assert recording is not None
    assert (recording.folder, recording.suffix) == (tmp_path / "video", ".mp4")
    assert (recording.rotate_s, recording.keep.seconds) == (900.0, 14 * 86_400.0)
    assert recording.keep.size_bytes == 1_500_000_000_000
    assert (plan.encode.crf, plan.inference.tile) == (23, 256)
    assert full.web is not None
    assert (full.web.address, full.web.token) == ("0.0.0.0:8080", "a long token")


def test_example_of_the_docs_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_TOKEN", "a long token")
    monkeypatch.setenv("DOOR_PASSWORD", "swordfish")
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "cameras.toml"
    file.write_text(example)
    config = read_config(file)
    assert [camera.name for camera in config.plan.cameras] == ["door", "yard"]
    assert not config.holds_secret


def test_every_key_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    keys = {*LIVE, *EVERY_CAMERA, *OWN, *NETWORK, *WEB, *RECORDING, *ENCODE, "weights"}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def test_secrets_are_not_shown(full: ServeConfig) -> None:
    assert "swordfish" not in repr(full)
    assert "a long token" not in repr(full)


def test_valid_file_is_checked_and_nothing_is_opened(check: Check, tmp_path: Path) -> None:
    assert check(f'[recording]\nfolder = "video"\n{CAMERA}') == (
        0,
        "c.toml: 1 camera, no mistake found",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cameras: there is none; add [cameras.NAME]"),
        ("[cameras", "is not valid TOML: Expected ']'"),
        ("[camera.door]\n" + CAMERA, "camera: there is no such key; did you mean cameras?"),
        (CAMERA + "sorce = 1", "cameras.door.sorce: there is no such key; did you mean source?"),
        (CAMERA + "zzz = 1", "cameras.door.zzz: there is no such key; use one of delay, "),
        ("[cameras.door]\n", "cameras.door.source: is missing; give the camera's address"),
        ('[cameras.door]\nsource = ""\n', "cameras.door.source: must be text in quotes"),
        ('[cameras.door]\nsource = "ftp://a/b"', "cameras.door.source: ftp://a/b: ftp:// cannot"),
        ('[cameras.door]\nsource = "no.mp4"', "cameras.door.source: no.mp4: no such file"),
        ('[cameras."Door 1"]\nsource = 0', "cameras.'Door 1': is not a name; use up to 32"),
        ('[cameras]\ndoor = "rtsp://a"', "cameras.door: is not a table; write [cameras.door]"),
        ('cameras = "rtsp://a"', "cameras: is not a table; write [cameras]"),
        ('[cameras.door]\nsource = "rtsp://u:${NONE_SUCH}@a/1"', "the environment has no variable"),
        (CAMERA + "scale = 2", "cameras.door.scale: must be from 0.25 to 1, got 2"),
        (CAMERA + "max_latency = 0", "cameras.door.max_latency: must be above 0 s, got 0"),
        (CAMERA + 'max_latency = "soon"', "cameras.door.max_latency: 'soon' is neither seconds"),
        (CAMERA + "delay = 2", "cameras.door.delay: 2 is none of 0, 1"),
        (CAMERA + "delay = true", "cameras.door.delay: True is none of 0, 1"),
        (CAMERA + 'prefer = "speed"', "cameras.door.prefer: 'speed' is none of latency, quality"),
        (CAMERA + 'record = "yes"', "cameras.door.record: must be true or false, got 'yes'"),
        (CAMERA + "retries = -1", "cameras.door.retries: must be a whole number from 0, got -1"),
        (CAMERA + "input_options = 3", "cameras.door.input_options: must be a table of text"),
        (CAMERA + 'out = "ftp://x"', "cameras.door.out: ftp://x is not an address to push to"),
        ("[defaults]\nsource = 0\n" + CAMERA, "defaults.source: there is no such key"),
        ("[defaults]\nscale = 9\n" + CAMERA, "defaults.scale: must be from 0.25 to 1, got 9"),
        ("[recording]\n" + CAMERA, "recording.folder: is missing; give the folder"),
        (
            '[recording]\nfolder="v"\nkeep_size="big"\n' + CAMERA,
            "recording.keep_size: 'big' is not",
        ),
        ('[recording]\nfolder="v"\nkeep_for="0d"\n' + CAMERA, "recording.keep_for: '0d' is not an"),
        ('[recording]\nfolder="v"\nrotate="0.5s"\n' + CAMERA, "recording.rotate: must be at least"),
        (
            '[recording]\nfolder="v"\ncontainer="avi"\n' + CAMERA,
            "recording.container: 'avi' is none",
        ),
        ('[recording]\nfolder="v"\n[encode]\ncodec="zzz"\n' + CAMERA, "encode.codec: "),
        ('[network]\nprecision="int9"\n' + CAMERA, "network.precision: 'int9' is none of auto"),
        ("[network]\ntile=3\n" + CAMERA, "network.tile: must be at least 128 px"),
        ('[network]\nweights="no"\n' + CAMERA, "network.weights: no is no file; check the name"),
        ('[web]\naddress="a:b"\n' + CAMERA, "web: a:b: is not an address; use HOST:PORT"),
        ('[web]\ntoken="short"\n' + CAMERA, "web.token: is too short"),
    ],
)
def test_mistake_is_one_line_with_the_path_to_it(check: Check, text: str, message: str) -> None:
    exit_code, output = check(text)
    assert exit_code == 1
    assert output.startswith("error: c.toml: ")
    assert message in output
    assert "\n" not in output


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", str(tmp_path / "none.toml")])
    assert result.exit_code == 1
    assert "none.toml: cannot be read: No such file or directory" in result.output


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("password", "mode", "warns"),
    [("secret", 0o644, True), ("secret", 0o640, False), ("${DOOR}", 0o644, False)],
)
def test_password_that_everybody_can_read_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, mode: int, warns: bool
) -> None:
    monkeypatch.setenv("DOOR", "secret")
    file = tmp_path / "c.toml"
    file.write_text(f'[cameras.door]\nsource = "rtsp://user:{password}@10.0.0.7/1"\n')
    file.chmod(mode)
    result = CliRunner().invoke(main, ["serve", str(file), "--check"])
    assert ("every user of this computer can read it" in result.output) is warns
    assert "secret" not in result.output


def test_program_records_and_completes_everything_at_sigterm(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        f'[network]\nweights = "{tiny_weights(tmp_path).name}"\n[encode]\npreset = "ultrafast"\n'
        f'[recording]\nfolder = "video"\n{CAMERA}{CAMERA.replace("door", "yard")}'
    )
    ready = tmp_path / "ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(ready))
        systemd.settimeout(120)
        with subprocess.Popen(
            [sys.executable, "-m", "lfdn_video", "serve", str(file), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NOTIFY_SOCKET": str(ready)},
        ) as program:
            assert program.stdout is not None
            shown: dict[str, int] = {}
            for line in program.stdout:
                event = json.loads(line)
                if event["event"] == "status":
                    shown[event["camera"]] = event["frames_out"]
                if len(shown) == 2 and min(shown.values()) > 3:
                    break
            program.send_signal(signal.SIGTERM)
            rest = [json.loads(line) for line in program.stdout]
        assert systemd.recv(100) == b"READY=1"
        assert systemd.recv(100) == b"STOPPING=1"
    assert program.returncode == 143
    done = {event["camera"]: event["frames_out"] for event in rest if event["event"] == "done"}
    for name in ("door", "yard"):
        (recording,) = (tmp_path / "video" / name).rglob("*.mkv")
        with av.open(str(recording)) as container:
            assert container.duration
            assert sum(1 for _ in container.decode(video=0)) == done[name]


def test_watchdog_is_fed_while_the_service_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "s"))
        systemd.setblocking(False)
        supervisor = Supervisor()
        supervisor.report_alive(lambda: False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
        supervisor.report_alive(lambda: True)
        supervisor.report_alive(lambda: True)  # not due yet
        assert systemd.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


@pytest.mark.parametrize("width", [60, 100])
def test_table_fits_the_terminal(width: int) -> None:
    from rich.console import Console

    status = Status(source="x", camera="a-camera-with-a-very-long-name", task="derain")
    console = Console(width=width, record=True, file=StringIO())
    console.print(make_table([status] * 3, width))
    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= width
