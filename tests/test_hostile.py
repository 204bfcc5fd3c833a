"""Hostile files: they open nothing but themselves, and take a bounded amount of memory."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lfdn_video import ffmpeg
from lfdn_video.cli import commands as cli
from lfdn_video.errors import InputError
from lfdn_video.inference import engine
from lfdn_video.input import probe
from lfdn_video.input.images import ImageReader
from lfdn_video.input.reader import Reader
from tests.support.clips import Clip, changing_size
from tests.support.fakes import identity_engine

IN_OPEN = 0x20


@dataclass
class Watch:
    """The names of the files opened, and the number of connections to `port`."""

    port: int
    opened: list[str] = field(default_factory=list)
    calls: int = 0


@contextmanager
def watched(folder: Path) -> Generator[Watch]:
    """Record every file opened in `folder`, and every connection to a local port."""
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watcher, os.fsencode(folder), IN_OPEN) >= 0
    with socket.create_server(("127.0.0.1", 0)) as door:
        watch = Watch(door.getsockname()[1])
        answering = threading.Thread(target=_answer, args=(door, watch), daemon=True)
        answering.start()
        try:
            yield watch
        finally:
            door.shutdown(socket.SHUT_RDWR)
            answering.join(5)
            watch.opened += _names(watcher)
            os.close(watcher)


def _answer(door: socket.socket, watch: Watch) -> None:
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        watch.calls += 1
        caller.close()


def _names(watcher: int) -> list[str]:
    try:
        content = os.read(watcher, 1 << 16)
    except BlockingIOError:
        return []
    names = []
    place = 0
    while place < len(content):
        length = struct.unpack_from("iIII", content, place)[3]
        name = content[place + 16 : place + 16 + length].rstrip(b"\0")
        names.append(os.fsdecode(name))
        place += 16 + length
    return [name for name in names if name]


needs_inotify = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no inotify here")


@needs_inotify
def test_watch_notices_opened_files_and_connections(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with watched(tmp_path) as watch:
        (tmp_path / "secret").read_text()
        socket.create_connection(("127.0.0.1", watch.port)).close()
        while not watch.calls:
            pass
    assert watch.opened == ["secret"]


DISGUISES = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{what}\n#EXT-X-ENDLIST\n",
    "hls.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{what}\n#EXT-X-ENDLIST\n",
    "key.mp4": (
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n"
        '#EXT-X-KEY:METHOD=AES-128,URI="{what}"\n#EXTINF:1,\n{what}\n#EXT-X-ENDLIST\n'
    ),
    "master.mkv": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{what}\n",
    "concat.mp4": "ffconcat version 1.0\nfile {what}\n",
    "concat.avi": "# a list\nffconcat version 1.0\nfile '{what}'\n",
    "dash.mp4": (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="0" '
        'bandwidth="1"><BaseURL>{what}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "sdp.mp4": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    ),
    "winamp.mp4": "[playlist]\nFile1={what}\nNumberOfEntries=1\n",
    "redirect.avi": "[Reference]\nRef1={what}\n",
    "asx.wmv": '<asx version="3.0"><entry><ref href="{what}"/></entry></asx>',
    "smil.mov": 'SMILtext<smil><body><video src="{what}"/></body></smil>',
    "qt.mov": (
        '<?xml version="1.0"?><?quicktime type="application/x-quicktime-media-link"?>'
        '<embed src="{what}"/>'
    ),
    "vobsub.mkv": (
        "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n"
    ),
    "lrc.mp4": "[00:00.00]file:{what}\n",
}
REFERENCES = {
    "file": "secret.mkv",
    "file URL": "file:{folder}/secret.mkv",
    "outside": "../{name}/secret.mkv",
    "http": "http://127.0.0.1:{port}/secret.mkv",
    "https": "https://127.0.0.1:{port}/latest/meta-data",
    "rtmp": "rtmp://127.0.0.1:{port}/live",
    "tcp": "tcp://127.0.0.1:{port}",
    "concat protocol": "concat:{folder}/secret.mkv|{folder}/secret.mkv",
    "subfile": "subfile,,start,0,end,100,,:{folder}/secret.mkv",
    "data": "data:video/x-matroska;base64,AAAA",
}


@needs_inotify
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_disguised_playlist_opens_nothing(tmp_path: Path, disguise: str, reference: str) -> None:
    """It is refused, and neither the file nor the address in it is opened."""
    Clip(pts=range(3)).make(tmp_path / "secret.mkv")
    with watched(tmp_path) as watch:
        values = {"folder": tmp_path, "name": tmp_path.name, "port": watch.port}
        what = REFERENCES[reference].format(**values)
        (tmp_path / disguise).write_text(DISGUISES[disguise].format(what=what, **values))
        with pytest.raises(InputError):
            Reader(tmp_path / disguise)
    assert watch.calls == 0
    assert set(watch.opened) == {disguise}


@needs_inotify
@pytest.mark.parametrize(
    "reference", ["secret.mkv", "{folder}/secret.mkv", "http://127.0.0.1:{port}/"]
)
def test_data_reference_of_a_movie_is_not_opened(tmp_path: Path, reference: str) -> None:
    """QuickTime's data references can place the samples in another file."""
    Clip(codec="mpeg4", pts=range(3)).make(tmp_path / "secret.mkv")
    movie = Clip(codec="mpeg4", pts=range(3)).make(tmp_path / "movie.mov")
    with watched(tmp_path) as watch:
        referring(movie, reference.format(folder=tmp_path, port=watch.port))
        with Reader(movie) as reader:
            assert len(list(reader.frames())) == 3  # its own, as if nothing were referred to
    assert watch.calls == 0
    assert set(watch.opened) == {"movie.mov"}


def referring(movie: Path, what: str) -> None:
    """Point the data reference of every stream to the file or address `what`."""
    content = movie.read_bytes()
    place = content.rindex(b"dref") - 4
    size = struct.unpack_from(">I", content, place)[0]
    entry = struct.pack(">I4sI", 12 + len(what) + 1, b"url ", 0) + what.encode() + b"\0"
    made = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown = bytearray(content[:place] + made + content[place + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = grown.rindex(name, 0, place) - 4
        old = struct.unpack_from(">I", grown, start)[0]
        struct.pack_into(">I", grown, start, old + len(made) - size)
    movie.write_bytes(grown)


def limit_pixels(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    """Lower the limit for the first look at a file and for the decoders."""
    monkeypatch.setattr(probe, "MAX_PIXELS", pixels)
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", pixels)


@pytest.mark.parametrize("codec", ["libx264", "ffv1", "mpeg4", "libvpx-vp9"])
@pytest.mark.parametrize("ending", ["mkv", "avi", "nut"])
def test_video_with_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, ending: str
) -> None:
    clip = Clip(codec=codec).make(tmp_path / f"clip.{ending}")
    limit_pixels(monkeypatch, 64 * 48 - 1)
    with pytest.raises(InputError, match=r"64x48, more than|or of more than 0\.003071 million pix"):
        Reader(clip)


def test_stream_that_grows_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = changing_size(tmp_path / "clip.ts", first=(32, 64), then=(64, 48))
    limit_pixels(monkeypatch, 2500)
    with pytest.raises(InputError, match=r"its frames are 64x48, more than .* scale it down"):
        Reader(path)


def test_image_with_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clip(codec="png", pixel_format="rgb24", pts=[0]).make(tmp_path / "picture.png")
    limit_pixels(monkeypatch, 64 * 48 - 1)
    with pytest.raises(InputError, match=r"picture\.png: cannot be decoded"):
        ImageReader(tmp_path / "picture.png")


NAMES = [
    "new\nline",
    'quote\'s "n" `more`',
    "rain 🌧 雨",
    "-dash",
    "--help",
    "$(touch x)",
    "a;b&c|d",
]
NAMES += ["%s%n%d", "file:x", "http:x", "a:b", "..", " space ", "[bold]x", "\x1b[31mred"]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.fixture
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())


@pytest.mark.usefixtures("_identity")
@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_works(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are typed as in a shell, in the file's folder."""
    clip = Clip(pts=range(3), audio="aac").make(tmp_path / "clip.mkv")
    clip.rename(tmp_path / f"{name}.mkv")
    monkeypatch.chdir(tmp_path)
    result = run("derain", "-o", f"{name}.out.mkv", "--", f"{name}.mkv")
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.mkv", f"{name}.out.mkv"}


@pytest.mark.usefixtures("_identity")
@pytest.mark.parametrize("name", NAMES)
def test_error_about_any_file_name_is_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.mkv"
    file.parent.mkdir(exist_ok=True)
    file.write_text("no video")
    result = run("derain", "-o", tmp_path / "out.mkv", "--", file)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "\x1b[31m" not in result.stderr
