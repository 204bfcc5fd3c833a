"""What a long run is expected to take, and what would make it faster here."""

import json
import time
from dataclasses import replace

import pytest

from lfdn_video.cli import foresight, formatting, reporters
from lfdn_video.cli.foresight import Estimate, Foresight, Setting, estimate
from lfdn_video.inference import devices, engine
from lfdn_video.inference.devices import DeviceInfo
from lfdn_video.options import EncodeOptions, InferenceOptions
from lfdn_video.progress import Progress, Stage
from tests.support.runs import progress

SETTING = Setting(task="derain", target="out.mp4")


def run(elapsed_s: float, eta_s: float | None, bottleneck: Stage = "model") -> Progress:
    return replace(
        progress(),
        elapsed_s=elapsed_s,
        eta_s=eta_s,
        bottleneck=bottleneck,
        size=(1920, 1080),
        device="cpu",
        precision="float32",
        resumable=True,
    )


@pytest.mark.parametrize(
    ("states", "count"),
    [
        ([(5, 500.0), (9.9, 500.0)], 0),
        ([(9.9, 500.0), (10.1, 500.0), (11, 500.0)], 1),
        ([(10.1, 40.0), (30, 300.0)], 0),  # a short run that turns out longer
        ([(10.1, None), (12, 500.0)], 1),
    ],
)
def test_long_run_is_foreseen_once_after_ten_seconds(
    states: list[tuple[float, float | None]], count: int
) -> None:
    steps: list[Progress] = []
    estimates: list[Estimate] = []
    foresee = Foresight(SETTING, steps.append, estimates.append)
    for elapsed_s, eta_s in states:
        foresee(run(elapsed_s, eta_s))
    assert (len(estimates), len(steps)) == (count, len(states))


def test_slow_run_is_foreseen_when_there_are_enough_frames() -> None:
    estimates: list[Estimate] = []
    foresee = Foresight(SETTING, lambda _: None, estimates.append)
    counts = []
    for elapsed_s in (10, 15, 17):
        foresee(replace(run(elapsed_s, 500), fps=0.5))
        counts.append(len(estimates))
    assert counts == [0, 0, 1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (DeviceInfo("cuda:0", "a GPU"), DeviceInfo("cpu", "2 threads"))
    monkeypatch.setattr(devices, "list_devices", lambda: found)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without a GPU and bfloat16, with OpenVINO and all weights."""
    monkeypatch.setattr(devices, "is_fastest_in_bfloat16", lambda _: False)
    monkeypatch.setattr(devices, "list_devices", lambda: (DeviceInfo("cpu", "2 threads"),))
    monkeypatch.setattr(foresight, "find_spec", lambda _: object())
    monkeypatch.setattr(engine, "is_packaged", lambda task, network: task == "derain")
    monkeypatch.setattr(engine, "has_packaged_int8", lambda task, network: network == "full")


def faster(bottleneck: Stage = "model", setting: Setting = SETTING, **more: str) -> list[str]:
    state = replace(run(10, 100, bottleneck), **more)  # type: ignore[arg-type]
    return [each.partition(",")[0] for each in estimate(state, setting).faster]


def test_slow_network_on_a_cpu_has_int8_and_lite() -> None:
    assert faster() == ["--precision int8", "--network lite"]


@pytest.mark.usefixtures("gpu")
def test_unused_gpu_comes_first() -> None:
    assert faster()[0] == "--device cuda:0"
    assert faster(device="cuda:0", precision="float16") == ["--network lite"]


def test_what_is_used_already_is_not_advised() -> None:
    lite = replace(SETTING, inference=InferenceOptions(network="lite"))
    assert faster(setting=lite) == []  # it has no 8-bit form
    assert faster(precision="int8") == ["--network lite with --precision auto"]


def test_bfloat16_comes_before_int8_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_fastest_in_bfloat16", lambda _: True)
    assert faster() == ["--precision bfloat16", "--network lite"]
    assert faster(precision="bfloat16") == ["--network lite"]


def test_own_weights_have_no_other_form() -> None:
    assert faster(setting=replace(SETTING, has_own_weights=True)) == []


def test_missing_openvino_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "find_spec", lambda _: None)
    assert faster()[0] == "--precision int8 after pip install 'lfdn-video[openvino]'"


@pytest.mark.parametrize(
    ("target", "encode", "advice"),
    [
        ("out.mp4", EncodeOptions(), ["--preset veryfast"]),
        ("out.mp4", EncodeOptions(codec="libsvtav1"), ["--preset 10"]),
        ("out.mp4", EncodeOptions(preset="veryfast"), []),
        ("out.avi", EncodeOptions(), []),  # MPEG-4 has no presets
        ("out.mp4", EncodeOptions(codec="ffv1"), []),
    ],
)
def test_slow_encoder_has_a_lighter_preset(
    target: str, encode: EncodeOptions, advice: list[str]
) -> None:
    assert faster("encode", replace(SETTING, target=target, encode=encode)) == advice


def test_line_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    line = formatting.format_estimate(estimate(run(10, 110), SETTING))
    clock = time.strftime("%H:%M", time.localtime(1_000_110))
    assert line == (
        f"85 frames of 1920×1080 on cpu in float32, 12.3 fps: done at {clock}, after 2:00; "
        "faster here: --precision int8 or --network lite, less thorough; "
        "Ctrl-C stops it, and the same command with --resume goes on"
    )


def test_run_that_cannot_be_resumed_does_not_promise_it() -> None:
    state = replace(run(10, 110), resumable=False)
    assert "--resume" not in formatting.format_estimate(estimate(state, None))


def test_estimate_is_a_json_event(capsys: pytest.CaptureFixture[str]) -> None:
    with reporters.EventReporter() as events:
        events.report_estimate(estimate(run(10, 110), SETTING))
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["seconds"], event["size"]) == ("estimate", 120.0, [1920, 1080])
    assert event["faster"][0] == "--precision int8"


def test_clock_has_the_day_if_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = time.mktime(time.strptime("2026-11-27 12:00", "%Y-%m-%d %H:%M"))
    monkeypatch.setattr(time, "time", lambda: noon)
    texts = [formatting.format_clock(noon + 3600 * hours) for hours in (1, 24, 24 * 30)]
    assert texts == ["13:00", "Sat 12:00", "2026-12-27 12:00"]
