"""The network in 8-bit integers, run by OpenVINO on a CPU. Reads files, does not make them.

`load_quantized(task)` gives a module with the contract of `LFDN.forward`, but for its rounding.
How files are made is in `quantize.py`; users need OpenVINO alone (the extra `openvino`), and
nothing is fetched.

A file is a zip of OpenVINO's two, `model.xml` and `model.bin`, and of `about.json` with the digest
of the weights it was made from. It stands beside them: `derain.int8.zip` by `derain.safetensors`.
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
from lfdn.weights import WeightsError, available, file_sha256, header, shipped, shipped_int8

if TYPE_CHECKING:
    import openvino

FORMAT = "lfdn-int8-1"
MODEL, CONSTANTS, ABOUT = "model.xml", "model.bin", "about.json"
KEPT_SIZES = 2
"""Compiled for so many sizes at a time. Pictures of a folder differ; frames and tiles do not."""


class OpenVinoMissingError(RuntimeError):
    """OpenVINO is not installed."""


def quantized_path(weights: Path) -> Path:
    """Where the 8-bit form of a file of weights is."""
    return weights.with_suffix(".int8.zip")


def load_quantized(task_or_path: str | os.PathLike[str]) -> "Quantized":
    """The 8-bit form of the packaged weights of a task, or of a file of weights.

    Raises WeightsError if there is none or it is another's, OpenVinoMissingError.
    """
    if isinstance(task_or_path, str) and task_or_path in available():
        weights, _ = shipped(task_or_path)
        path, expected = shipped_int8(task_or_path)
        if path.is_file() and file_sha256(path) != expected:
            raise WeightsError(f"{path}: was changed; install lfdn-video again")
    else:
        weights = Path(task_or_path)
        path = quantized_path(weights)
    about, model, constants = _read(path)
    if about.get("digest") != header(weights).get("digest"):
        raise WeightsError(f"{path}: was made from other weights; make it anew by lfdn quantize")
    return Quantized(model, constants)


class Quantized(nn.Module):
    """See `load_quantized`. Pictures of a batch are done one by one, in one thread at a time."""

    def __init__(self, model: bytes, constants: bytes) -> None:
        super().__init__()
        core = _openvino().Core()
        self._core, self._model = core, core.read_model(model, constants)
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self._one(image[index : index + 1]) for index in range(len(image))])

    def _one(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, STRIDE_PX).contiguous()
        found = self._for_size(tuple(padded.shape)).infer([padded.numpy()], share_inputs=True)
        change = torch.from_numpy(next(iter(found.values())))
        return image + change[..., : image.shape[-2], : image.shape[-1]]

    def _for_size(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._compiled:
            while len(self._compiled) >= KEPT_SIZES:
                self._compiled.popitem(last=False)
            self._model.reshape(list(shape))
            self._compiled[shape] = compiled(self._core, self._model).create_infer_request()
        self._compiled.move_to_end(shape)
        return self._compiled[shape]


def compiled(core: "openvino.Core", model: "openvino.Model") -> "openvino.CompiledModel":
    """For one picture at a time, on the cores that torch uses.

    What is not in integers is in float32: left to itself OpenVINO takes bfloat16 on some CPUs.
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


def _read(path: Path) -> tuple[dict[str, str], bytes, bytes]:
    try:
        with zipfile.ZipFile(path) as file:
            about: dict[str, str] = json.loads(file.read(ABOUT))
            model, constants = file.read(MODEL), file.read(CONSTANTS)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file; make it by lfdn quantize") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: not a readable 8-bit network ({error})") from error
    if about.get("format") != FORMAT:
        raise WeightsError(f"{path}: is of another format; make it anew by lfdn quantize")
    return about, model, constants


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise OpenVinoMissingError(
            "int8: needs OpenVINO; pip install 'lfdn-video[openvino]', or use float32"
        ) from error
    return openvino
