"""The network in 8 bit: close to the float network, and tied to its weights."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from lfdn import LFDN, LFDNConfig, WeightsError, load
from lfdn.int8 import ABOUT, get_int8_path, load_quantized
from lfdn.metrics import psnr
from lfdn.openvino_form import MAX_COMPILED_SIZES, OpenVinoMissingError, import_openvino
from lfdn.weights import FOLDER, INDEX, find_packaged_int8, read_header, save_weights
from lfdn_video.errors import OptionError
from lfdn_video.inference.devices import choose_precision
from lfdn_video.inference.engine import load_engine
from lfdn_video.options import InferenceOptions

TASKS = [
    task for task, entry in json.loads((FOLDER / INDEX).read_text()).items() if "int8" in entry
]
NEAR_DB = 40.0
"""PSNR to the float network's output; the rain left in that is at 34 dB."""


def shades(height: int, width: int) -> torch.Tensor:
    """An image with edges, ramps and a little noise."""
    across = torch.linspace(0, 1, width).expand(height, width)
    rows = (torch.arange(height)[:, None] // 9 % 2).expand(height, width).float()
    noise = torch.rand(height, width, generator=torch.Generator().manual_seed(3))
    return torch.stack([across, 0.2 + 0.5 * rows, 0.7 * across + 0.2 * noise])[None]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A weight file without an 8-bit form."""
    path = tmp_path / "tiny.safetensors"
    save_weights(LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)), path, task="derain")
    return path


def archive(path: Path, **about: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in ((ABOUT, json.dumps(about)), ("model.xml", ""), ("model.bin", "")):
            file.writestr(name, content)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [(96, 128), (50, 71)])
def test_output_is_close_to_the_float_network(task: str, size: tuple[int, int]) -> None:
    pytest.importorskip("openvino")
    image = shades(*size)
    with torch.inference_mode():
        assert psnr(load_quantized(task)(image), load(task)(image)).item() > NEAR_DB


@pytest.mark.parametrize("task", TASKS)
def test_packaged_file_is_made_from_the_packaged_weights(task: str) -> None:
    with zipfile.ZipFile(find_packaged_int8(task)[0]) as file:
        about = json.loads(file.read(ABOUT))
    assert about["digest"] == read_header(FOLDER / f"{task}.safetensors")["digest"]


def test_images_of_a_batch_do_not_mix() -> None:
    pytest.importorskip("openvino")
    network, first, second = load_quantized("derain"), shades(32, 48), shades(32, 48).flip(2)
    both = network(torch.cat([first, second]))
    assert torch.equal(both, torch.cat([network(first), network(second)]))


def test_compiled_sizes_are_limited() -> None:
    pytest.importorskip("openvino")
    network = load_quantized("derain")
    for side_px in (16, 32, 48, 64):
        network(torch.rand(1, 3, side_px, 16))
    assert len(network._requests) == MAX_COMPILED_SIZES


def test_error_for_a_missing_8_bit_form_says_how_to_make_it(tiny: Path) -> None:
    with pytest.raises(WeightsError, match="no such file; make it with lfdn quantize"):
        load_quantized(tiny)


def test_8_bit_form_of_other_weights_is_refused(tiny: Path) -> None:
    archive(get_int8_path(tiny), format="lfdn-int8-1", digest="another")
    with pytest.raises(WeightsError, match="made from other weights"):
        load_quantized(tiny)


def test_corrupt_file_is_refused(tiny: Path) -> None:
    get_int8_path(tiny).write_bytes(b"PK but nothing else")
    with pytest.raises(WeightsError, match="not a readable 8-bit network"):
        load_quantized(tiny)


def test_error_without_openvino_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OpenVinoMissingError, match=r"pip install 'lfdn-video\[openvino\]'"):
        import_openvino()
    with pytest.raises(OptionError, match="precision: int8: needs OpenVINO"):
        load_engine("derain", options=InferenceOptions(device="cpu", precision="int8"))


def test_engine_runs_int8_on_the_cpu() -> None:
    pytest.importorskip("openvino")
    with load_engine("derain", options=InferenceOptions(device="cpu", precision="int8")) as engine:
        residual = engine.compute_residual(shades(32, 48)).result()
    assert (engine.identity["precision"], residual.shape) == ("int8", (1, 3, 32, 48))


def test_int8_is_refused_on_other_devices() -> None:
    with pytest.raises(OptionError, match="int8 is for the CPU alone"):
        choose_precision("int8", torch.device("cuda"))
