"""Post-training quantization by NNCF: from a network to the file that `lfdn.int8` reads.

Nothing is trained: a few dozen images pass through the network to show the range of its
activations. Only whoever packages weights needs NNCF; users of the result do not.

The first layer, the encoder and the last layer stay in float32: the encoder's rounding errors would
propagate through every sum after it. Activation ranges minimize the error over the histogram of the
observed values (docs/log.md, 2026-11-26).
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import nncf
import openvino
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from torch import Tensor

from lfdn.files import write_beside
from lfdn.int8 import ABOUT, CONSTANTS, INT8_FORMAT, MODEL
from lfdn.model import LFDN
from lfdn.openvino_form import convert_to_openvino, ignore_warnings

FLOAT_LAYERS = (r".*entry\.(fused|head|reduce).*", r".*encoder.*", r".*decoder\.3.*")
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file, byte for byte


def quantize(network: LFDN, images: Sequence[Tensor]) -> openvino.Model:
    """Convert a network to OpenVINO and quantize it to 8 bit.

    Args:
        network: As for `convert_to_openvino`.
        images: Degraded images that show the range of activations, float32 `[1, 3, H, W]` in 0…1,
            at least one, all of the same size.

    Returns:
        The model, like that of `convert_to_openvino`.

    Raises:
        TypeError: As for `convert_to_openvino`.
    """
    model = convert_to_openvino(network)
    model.reshape(list(images[0].shape))
    ranges = RangeEstimatorParametersSet.HISTOGRAM
    options = AdvancedQuantizationParameters(activations_range_estimator_params=ranges)
    with ignore_warnings():
        return nncf.quantize(
            model,
            nncf.Dataset([image.numpy() for image in images]),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT_LAYERS), validate=False),
            advanced_parameters=options,
        )


def save_quantized(model: openvino.Model, path: Path, *, digest: str) -> None:
    """Write the file that `lfdn.int8.load_quantized` reads.

    Args:
        model: A result of `quantize`.
        path: The file to write; replaced if it exists.
        digest: Digest of the weights that the model was made from (`lfdn.weights.read_header`).
    """
    about = {"format": INT8_FORMAT, "digest": digest}
    about |= {"openvino": openvino.__version__, "nncf": nncf.__version__}
    with TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder, MODEL), compress_to_fp16=True)
        parts = {name: Path(folder, name).read_bytes() for name in (MODEL, CONSTANTS)}
    parts[ABOUT] = (json.dumps(about, indent=1) + "\n").encode()
    with (
        write_beside(path, overwrite=True) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
