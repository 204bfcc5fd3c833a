"""Several cameras in one program: each for itself, with one network and one policy."""

from collections.abc import Generator
from pathlib import Path

import av
import pytest

from lfdn_video.errors import OutputError
from lfdn_video.inference.engine import Engine
from lfdn_video.options import EncodeOptions, LiveOptions
from lfdn_video.stream.addresses import parse_source
from lfdn_video.stream.capture import capture
from lfdn_video.stream.live import LiveNetworks
from lfdn_video.stream.service import CameraPlan, RecordingPlan, Service, ServicePlan
from lfdn_video.stream.sinks.ledger import NAME
from tests.support.fakes import identity
from tests.support.tcp_camera import TcpCamera, make_clip
from tests.support.waiting import threads, wait_until

DRAWN = "lavfi:testsrc2=size=64x48:rate=10"
QUICK = LiveOptions(scale=1.0, temporal="off")


@pytest.fixture
def networks() -> Generator[LiveNetworks]:
    with Engine(identity) as engine:
        yield LiveNetworks(engine)


def camera(name: str, source: str = DRAWN, options: LiveOptions = QUICK) -> CameraPlan:
    return CameraPlan(name=name, source=parse_source(source), options=options)


def frames_of(service: Service) -> list[int]:
    return [board.status.frames_out for board in service.boards]


def test_cameras_run_together_and_end_with_complete_recordings(
    networks: LiveNetworks, tmp_path: Path
) -> None:
    plan = ServicePlan(
        cameras=[camera("door"), camera("yard"), camera("dead", "rtsp://127.0.0.1:9/1")],
        recording=RecordingPlan(folder=tmp_path),
        encode=EncodeOptions(preset="ultrafast"),
    )
    with Service(plan, networks=networks) as service:
        wait_until(lambda: min(frames_of(service)[:2]) > 5, "frames of both")
        assert [board.status.camera for board in service.boards] == ["door", "yard", "dead"]
        assert service.boards[0].status.recording
    assert [board.status.state for board in service.boards] == ["ended"] * 3
    assert service.failed == []
    assert threads() == set()
    for name, frames in zip(("door", "yard"), frames_of(service), strict=False):
        (file,) = (tmp_path / name).rglob("*.mkv")
        with av.open(str(file)) as container:
            assert container.duration  # written when it is complete
            assert sum(1 for _ in container.decode(video=0)) == frames
        assert (
            f'"{file.relative_to(tmp_path).as_posix()}", "bytes"' in (tmp_path / NAME).read_text()
        )
    assert not list(tmp_path.glob("dead/*/*"))


def test_camera_that_fails_ends_alone(
    networks: LiveNetworks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    plan = ServicePlan(cameras=[camera("door"), camera("broken", str(broken))])
    with Service(plan, networks=networks) as service:
        wait_until(lambda: service.failed == ["broken"], "the failure")
        before = frames_of(service)[0]
        wait_until(lambda: frames_of(service)[0] > before + 3, "frames of the other")
        assert not service.wait(0.01)
    assert "broken.mp4" in service.boards[1].status.message
    assert "the other cameras go on" in caplog.text


def test_hanging_camera_is_reopened_and_harms_no_other(
    networks: LiveNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "OPENING_S", 3.0)
    clip = make_clip(size=(64, 48), rate=10)
    impatient = LiveOptions(scale=1.0, temporal="off", stall_timeout_s=1.0)
    with TcpCamera(clip, 10, "hangs", after_s=1.0) as bad:
        plan = ServicePlan(cameras=[camera("good"), camera("hangs", bad.address, impatient)])
        with Service(plan, networks=networks) as service:
            wait_until(lambda: bad.connections >= 3, "reopening")
            assert service.boards[0].status.state == "live"
    good = service.boards[0].status
    assert good.reconnects == 0
    assert good.frames_in == good.frames_out + good.frames_dropped


def test_all_ended_sources_end_the_service(networks: LiveNetworks) -> None:
    short = LiveOptions(scale=1.0, temporal="off", duration_s=0.5)
    plan = ServicePlan(cameras=[camera("door", options=short)])
    with Service(plan, networks=networks) as service:
        wait_until(lambda: service.wait(0.05), "the end")


def test_recording_that_cannot_be_written_is_refused_at_the_start(
    networks: LiveNetworks, tmp_path: Path
) -> None:
    (tmp_path / "door").write_text("in the way")
    plan = ServicePlan(cameras=[camera("door")], recording=RecordingPlan(folder=tmp_path))
    with pytest.raises(OutputError), Service(plan, networks=networks):
        pass
    assert threads() == set()


def test_views_are_made_now_and_then_while_nobody_looks(networks: LiveNetworks) -> None:
    with Service(ServicePlan(cameras=[camera("door")]), networks=networks) as service:
        (board,) = service.boards
        wait_until(lambda: frames_of(service)[0] > 3, "frames")
        assert board.view is not None
        board.want_views()
        first = board.view.number
        wait_until(lambda: board.view is not None and board.view.number > first, "a new view")
        assert board.wants_view()
