"""Quantization: the conversion is exact, and the command writes a file that loads."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lfdn import LFDN, LFDNConfig
from lfdn.cli import main
from lfdn.int8 import load_quantized
from lfdn.openvino_form import compile_for_cpu, convert_to_openvino
from lfdn.weights import save_weights
from tests.lfdn.test_cpu import lively

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")

ROUNDING = 1e-4
"""Of images in 0…1; a step of 8 bits is 4e-3."""
SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


@pytest.mark.parametrize("config", [LFDNConfig(), LFDNConfig(gram="sum", blocks=2)])
@pytest.mark.parametrize("size", [(32, 48), (16, 16)])
def test_conversion_to_openvino_in_float32_is_exact(
    config: LFDNConfig, size: tuple[int, int]
) -> None:
    network, image = lively(config).eval(), torch.rand(1, 3, *size)
    model = convert_to_openvino(network)
    model.reshape(list(image.shape))
    residual = torch.from_numpy(
        next(iter(compile_for_cpu(openvino.Core(), model)(image.numpy()).values()))
    )
    with torch.inference_mode():
        torch.testing.assert_close(image + residual, network(image), atol=ROUNDING, rtol=0)


def test_other_parts_than_the_defaults_are_refused() -> None:
    with pytest.raises(TypeError, match="only the default's parts"):
        convert_to_openvino(LFDN(LFDNConfig(encoder="plain")))


def test_quantize_command_writes_a_file_that_loads(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    for number in range(2):
        image = Image.effect_noise((320, 320), 40 + number).convert("RGB")
        image.save(tmp_path / "clean" / f"{number}.png")
    save_weights(LFDN(SMALL), path := tmp_path / "small.safetensors", task="derain")
    arguments = ["quantize", "--weights", str(path), "--data", f"clean={tmp_path / 'clean'}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert load_quantized(path)(torch.rand(1, 3, 20, 30)).shape == (1, 3, 20, 30)
