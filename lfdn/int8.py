"""The network in 8-bit integers, run by OpenVINO on a CPU.

`load_quantized(task)` returns a module with the contract of `LFDN.forward`, except for rounding. It
needs only OpenVINO (the extra `openvino`), and downloads nothing. `lfdn.calibrate` makes the files.

A file is a ZIP of OpenVINO's `model.xml` and `model.bin`, and of `about.json` with the digest of
the weights it was made from. It lies beside them: `derain.int8.zip` beside `derain.safetensors`.
"""

import json
import os
import zipfile
from pathlib import Path

from lfdn.openvino_form import OpenVinoLFDN, import_openvino
from lfdn.weights import (
    WeightsError,
    available,
    file_sha256,
    find_packaged,
    find_packaged_int8,
    read_header,
)

INT8_FORMAT = "lfdn-int8-1"
MODEL, CONSTANTS, ABOUT = "model.xml", "model.bin", "about.json"


def get_int8_path(weights: Path) -> Path:
    """Return the path, beside a weights file, of its 8-bit form."""
    return weights.with_suffix(".int8.zip")


def load_quantized(task_or_path: str | os.PathLike[str]) -> OpenVinoLFDN:
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
    # In float32 what is not quantized, so that a file gives the same results on every CPU.
    return OpenVinoLFDN(import_openvino().Core().read_model(model, constants), "f32")


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
