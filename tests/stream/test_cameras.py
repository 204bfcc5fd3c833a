"""Cameras by number, on a machine that may have none."""

import sys
from pathlib import Path

import pytest

from lfdn_video.stream.capture import cameras
from lfdn_video.stream.capture.cameras import Camera, find_ffmpeg_device


def node(folder: Path, name: str, *, text: str, index: int) -> None:
    place = folder / name
    place.mkdir()
    (place / "name").write_text(f"{text}\n")
    (place / "index").write_text(f"{index}\n")


def test_linux_cameras_are_listed_with_number_name_and_device(tmp_path: Path) -> None:
    """The second node of a camera has no frames."""
    node(tmp_path, "video2", text="Door", index=0)
    node(tmp_path, "video0", text="Webcam: C920", index=0)
    node(tmp_path, "video1", text="Webcam: C920", index=1)
    assert cameras._linux_cameras(tmp_path) == [
        Camera(0, "Webcam: C920", "/dev/video0"),
        Camera(2, "Door", "/dev/video2"),
    ]


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("linux", ("v4l2", "/dev/video1")),
        ("darwin", ("avfoundation", "1:none")),
        ("sunos", None),
    ],
)
def test_number_becomes_the_device_of_the_system(
    system: str, expected: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert find_ffmpeg_device("1") == expected


def test_windows_opens_a_camera_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(cameras, "list_cameras", lambda: [Camera(0, "Webcam", "@device_pnp")])
    assert find_ffmpeg_device("0") == ("dshow", "video=Webcam")
    assert find_ffmpeg_device("1") is None


def test_device_path_is_opened_as_given() -> None:
    assert find_ffmpeg_device("/dev/video7") == ("v4l2", "/dev/video7") or sys.platform != "linux"
