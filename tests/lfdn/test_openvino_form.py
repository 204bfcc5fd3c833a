"""The network in bfloat16, run by OpenVINO, where the CPU computes in it."""

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig, load, openvino_form
from lfdn.datasets.images import to_tensor
from lfdn.metrics import psnr
from lfdn.openvino_form import has_fast_bfloat16, run_in_bfloat16
from lfdn_video.inference.devices import is_fastest_in_bfloat16
from lfdn_video.inference.engine import load_engine
from lfdn_video.options import InferenceOptions
from lfdn_video.stream.live import live_engine
from tests.support.scripts import ROOT

NEAR_DB = 50.0
"""PSNR to the result in float32; the rain left in that is at 34 dB."""

needs_bfloat16 = pytest.mark.skipif(
    not has_fast_bfloat16(), reason="OpenVINO is missing, or this CPU computes in float32"
)


@pytest.fixture(scope="module")
def image() -> Tensor:
    """A part of a rainy frame."""
    with av.open(ROOT / "samples" / "rainy_dashcam.mp4") as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return to_tensor(np.asarray(frame[40:160, 200:360], np.uint8))


@needs_bfloat16
@pytest.mark.parametrize("name", ["derain", "derain_lite", "deblur", "deblur_lite"])
def test_it_is_close_to_float32(name: str, image: Tensor) -> None:
    network = load(name)
    with torch.inference_mode():
        expected = network(image)
    found = run_in_bfloat16(network)(image)
    assert found.shape == image.shape
    assert psnr(found, expected) > NEAR_DB
    assert (expected - image).abs().max() > 0.01  # it has done something


def test_without_hardware_the_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1))
    monkeypatch.setattr(openvino_form, "has_fast_bfloat16", lambda: False)
    assert run_in_bfloat16(network) is network


@needs_bfloat16
@pytest.mark.parametrize("change", [{"encoder": "plain"}, {"residual": False}])
def test_other_networks_stay_as_they_are(change: dict[str, object]) -> None:
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1, **change))  # type: ignore[arg-type]
    assert run_in_bfloat16(network) is network


@needs_bfloat16
def test_engine_says_who_runs_it() -> None:
    options = InferenceOptions(device="cpu", precision="bfloat16", network="lite")
    with load_engine("derain", options=options) as engine:
        assert engine.identity["runtime"] == "openvino"
        assert engine.identity["precision"] == "bfloat16"


def test_live_takes_it_where_the_choice_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Loaded:
        def __enter__(self) -> object:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def note(task: str, *, options: InferenceOptions, **_: object) -> Loaded:
        asked.append(options.precision)
        return Loaded()

    monkeypatch.setattr("lfdn_video.inference.engine.load_engine", note)
    for fast in (True, False):
        monkeypatch.setattr(
            "lfdn_video.inference.devices.is_fastest_in_bfloat16", lambda _, fast=fast: fast
        )
        with live_engine("derain", inference=InferenceOptions(device="cpu")):
            pass
        with live_engine("derain", inference=InferenceOptions(device="cpu", precision="float32")):
            pass
    assert asked == ["bfloat16", "float32", "auto", "float32"]


def test_only_cpus_are_asked() -> None:
    assert not is_fastest_in_bfloat16(torch.device("meta"))
    assert is_fastest_in_bfloat16(torch.device("cpu")) == has_fast_bfloat16()
