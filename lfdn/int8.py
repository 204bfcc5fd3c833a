"""The network in 8-bit integers, run by OpenVINO on a CPU.

`load_quantized(task)` returns a module with the contract of `LFDN.forward`, except for rounding. It
needs only OpenVINO (the extra `openvino`), and downloads nothing. `lfdn.calibrate` makes the files.

A file is a ZIP of OpenVINO's `model.xml` and `model.bin`, and of `about.json` with the digest of
the weights it was made from. It lies beside them: `derain.int8.zip` beside `derain.safetensors`.
"""

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lfdn.model import STRIDE_PX, pad_to_multiple
from lfdn.weights import (
    WeightsError,
    available,
    file_sha256,
    find_packaged,
    find_packaged_int8,
    read_header,
)

if TYPE_CHECKING:
    import openvino

INT8_FORMAT = "lfdn-int8-1"
MODEL, CONSTANTS, ABOUT = "model.xml", "model.bin", "about.json"
MAX_COMPILED_SIZES = 2
"""Compiled models in memory, one per image size. A folder's images may all differ in size, so the
number is limited; frames and tiles of a video do not."""


class OpenVinoMissingError(RuntimeError):
    """OpenVINO is not installed."""


def get_int8_path(weights: Path) -> Path:
    """Return the path, beside a weights file, of its 8-bit form."""
    return weights.with_suffix(".int8.zip")


def load_quantized(task_or_path: str | os.PathLike[str]) -> "QuantizedLFDN":
    """Load the 8-bit form of a network.

    Args:
        task_or_path: A task of `lfdn.available()`, or a weights file with its 8-bit form beside it
            (`lfdn quantize`).

    Returns:
        A module with the contract of `LFDN.forward`, for the CPU.

    Raises:
        WeightsError: There is no 8-bit form, or it was changed or made from other weights.
        OpenVinoMissingError: OpenVINO is not installed.
    """
    if isinstance(task_or_path, str) and task_or_path in available():
        weights, _ = find_packaged(task_or_path)
        path, expected = find_packaged_int8(task_or_path)
        if path.is_file() and file_sha256(path) != expected:
            raise WeightsError(f"{path}: was changed; install lfdn-video again")
    else:
        weights = Path(task_or_path)
        path = get_int8_path(weights)
    about, model, constants = _read_archive(path)
    if about.get("digest") != read_header(weights).get("digest"):
        raise WeightsError(f"{path}: was made from other weights; make it again with lfdn quantize")
    return QuantizedLFDN(model, constants)


class QuantizedLFDN(nn.Module):
    """The result of `load_quantized`. Restores images one by one; not thread-safe."""

    def __init__(self, model: bytes, constants: bytes) -> None:
        super().__init__()
        self._core = _import_openvino().Core()
        self._model = self._core.read_model(model, constants)
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self._restore(image[index : index + 1]) for index in range(len(image))])

    def _restore(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, STRIDE_PX).contiguous()
        request = self._get_request(tuple(padded.shape))
        outputs = request.infer([padded.numpy()], share_inputs=True)
        residual = torch.from_numpy(next(iter(outputs.values())))
        return image + residual[..., : image.shape[-2], : image.shape[-1]]

    def _get_request(self, shape: tuple[int, ...]) -> Any:
        """Return the inference request for a shape; drop the least recently used ones."""
        if shape not in self._requests:
            while len(self._requests) >= MAX_COMPILED_SIZES:
                self._requests.popitem(last=False)
            self._model.reshape(list(shape))
            compiled = compile_for_cpu(self._core, self._model)
            self._requests[shape] = compiled.create_infer_request()
        self._requests.move_to_end(shape)
        return self._requests[shape]


def compile_for_cpu(core: "openvino.Core", model: "openvino.Model") -> "openvino.CompiledModel":
    """Compile a model for one image at a time, on as many threads as torch uses.

    Layers that are not quantized run in float32: by default OpenVINO chooses bfloat16 on some CPUs,
    and the same file would give other results there.

    Args:
        core: The OpenVINO runtime.
        model: A model with a fixed input shape.
    """
    return core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    )


def _read_archive(path: Path) -> tuple[dict[str, str], bytes, bytes]:
    try:
        with zipfile.ZipFile(path) as file:
            about: dict[str, str] = json.loads(file.read(ABOUT))
            model = file.read(MODEL)
            constants = file.read(CONSTANTS)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file; make it with lfdn quantize") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: not a readable 8-bit network ({error})") from error
    if about.get("format") != INT8_FORMAT:
        raise WeightsError(f"{path}: is of another format; make it again with lfdn quantize")
    return about, model, constants


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise OpenVinoMissingError(
            "int8: needs OpenVINO; pip install 'lfdn-video[openvino]', or use float32"
        ) from error
    return openvino
