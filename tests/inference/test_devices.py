"""Devices and precisions by name: those that exist are found, others are refused with advice."""

import pytest
import torch

from lfdn_video.errors import DeviceError, OptionError
from lfdn_video.inference.devices import choose_device, choose_precision, list_devices

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu;", ""])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="none of auto, cpu, cuda, cuda:N, mps"):
        choose_device(name)


def test_missing_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="cuda: no CUDA device"):
        choose_device("cuda")


def test_device_beyond_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="cuda:2: no such device; there are cuda:0 to cuda:1"):
        choose_device("cuda:2")


def test_auto_chooses_the_first_available_device() -> None:
    assert str(choose_device("auto")) == list_devices()[0].name


def test_cpu_is_always_available_and_listed_last() -> None:
    assert list_devices()[-1].name == "cpu"


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda", "float16"),
        ("bfloat16", "cpu", "bfloat16"),
        ("float32", "cuda", "float32"),
    ],
)
def test_precision_suits_the_device(name: str, device: str, expected: str) -> None:
    assert choose_precision(name, torch.device(device)) == expected


def test_float16_is_refused_on_the_cpu() -> None:
    with pytest.raises(OptionError, match="use float32 or bfloat16"):
        choose_precision("float16", CPU)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'int4' is none of auto, float32, .*, int8"):
        choose_precision("int4", CPU)
