"""Child processes of the program, and the messages between them."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lfdn_video.child import Child, receive, send
from lfdn_video.stream import wire
from lfdn_video.stream.addresses import parse_source
from tests.support.fakes import noise_frames, video_info
from tests.support.waiting import wait_until


def endless() -> wire.CaptureRequest:
    return wire.CaptureRequest(source=parse_source("lavfi:testsrc2=size=64x48:rate=25"))


def test_messages_arrive_as_they_were_sent() -> None:
    (frame,) = noise_frames(video_info(), 1)
    pipe = io.BytesIO()
    send(pipe, wire.Note("first"))
    send(pipe, wire.StampedFrame(frame, 1.5, 0.0))
    pipe.seek(0)
    assert receive(pipe) == wire.Note("first")
    stamped = receive(pipe)
    for sent, received in zip(frame.planes, stamped.frame.planes, strict=True):
        assert np.array_equal(sent, received)


def test_half_a_message_raises_eof() -> None:
    pipe = io.BytesIO()
    send(pipe, wire.Note("a message"))
    with pytest.raises(EOFError):
        receive(io.BytesIO(pipe.getvalue()[:-1]))


def test_request_does_not_show_its_password() -> None:
    request = wire.CaptureRequest(source=parse_source("rtsp://user:secret@host/1"))
    assert "secret" not in repr(request)
    assert "secret" not in repr(wire.PushRequest(target="rtmp://h/live/secret", encode=None))  # type: ignore[arg-type]


def test_leaving_the_context_ends_the_process() -> None:
    with Child("lfdn_video.stream.capture.grabber") as child:
        child.send(endless())
        child.receive()
    assert child.wait(0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_password_is_in_arguments_or_environment() -> None:
    with Child("lfdn_video.stream.capture.grabber") as child:
        child.send(wire.CaptureRequest(source=parse_source("rtsp://user:secret@127.0.0.1:9/1")))
        words = Path(f"/proc/{child._process.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{child._process.pid}/environ").read_bytes()
    assert b"secret" not in words + environment


PARENT = """
import sys, time
from lfdn_video.child import Child, receive, send
from tests.test_child import endless
with Child("lfdn_video.stream.capture.grabber") as child:
    child.send(endless())
    child.receive()
    print(child._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="finds a process by a signal")
def test_child_ends_when_its_parent_is_killed() -> None:
    root = Path(__file__).parents[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(child))


def is_running(process: int) -> bool:
    """A zombie that nobody waits for counts as ended."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
