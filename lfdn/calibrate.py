"""Post-training quantization by NNCF: from a network to the file that `lfdn.int8` reads.

Nothing is trained: a few dozen images pass through the network to show the range of its
activations. Only whoever packages weights needs NNCF; users of the result do not.

The network is first rewritten where OpenVINO runs faster for it: the first two convolutions become
one, and ALFM's products are written over rows. The first layer, the encoder and the last layer stay
in float32: the encoder's rounding errors would propagate through every sum after it. Activation
ranges minimize the error over the histogram of the observed values (docs/log.md, 2026-11-26).
"""

import copy
import json
import warnings
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import nncf
import openvino
import torch
import torch.nn.functional as F
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from torch import Tensor, nn

from lfdn.algebra import fuse_first_convs
from lfdn.files import write_beside
from lfdn.int8 import ABOUT, CONSTANTS, INT8_FORMAT, MODEL
from lfdn.model import ALFM, LFDN, MSHF, AttentionFusion, DownBlock

FLOAT_LAYERS = (r".*entry\.(fused|head|reduce).*", r".*encoder.*", r".*decoder\.3.*")
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file, byte for byte


def convert_to_openvino(network: LFDN) -> openvino.Model:
    """Convert a network to OpenVINO, in float32.

    Args:
        network: With the default encoder, blocks and fusion. It is not changed.

    Returns:
        A model from an image, `[1, 3, H, W]` in 0…1 with sides that are multiples of 16, to its
        residual.

    Raises:
        TypeError: The network's encoder or fusion is not the default.
    """
    module = _ResidualNetwork(copy.deepcopy(network).eval())
    with _ignore_warnings():
        return openvino.convert_model(module, example_input=torch.rand(1, 3, 64, 64))


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
    with _ignore_warnings():
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


@contextmanager
def _ignore_warnings() -> Generator[None]:
    """Silence OpenVINO and NNCF, which warn of their own use of torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _ResidualNetwork(nn.Module):
    """The residual of an LFDN, without padding, written for OpenVINO."""

    def __init__(self, network: LFDN) -> None:
        super().__init__()
        if not isinstance(network.encoder, MSHF) or not isinstance(network.fusion, AttentionFusion):
            raise TypeError("encoder, fusion: only the default's parts can be converted")
        self.entry = _FusedEntry(network.head, network.encoder.down_1)
        self.encoder = network.encoder
        self.blocks = network.blocks
        self.decoder = network.decoder
        # `network` is the caller's copy, so its fusion may be changed in place.
        network.fusion.alfm = cast("ALFM", _RowALFM(network.fusion.alfm))
        self.fusion = network.fusion

    def forward(self, image: Tensor) -> Tensor:
        encoder = self.encoder
        f2 = encoder.res_2(encoder.down_2(self.entry(image)))
        f3 = encoder.res_3(encoder.down_3(f2))
        f4 = encoder.res_4(encoder.down_4(f3))
        f3 = encoder.fuse_3(f3 + encoder.up_4(f4))
        features = encoder.fuse_2(f2 + encoder.up_3(f3))
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        residual: Tensor = self.decoder(self.fusion(outputs))
        return residual


class _FusedEntry(nn.Module):
    """Head and first downblock, to f1; the first two convolutions are fused, as in `lfdn.cpu`."""

    def __init__(self, head: nn.Conv2d, down: DownBlock) -> None:
        super().__init__()
        self.head = head
        self.reduce = down.reduce
        self.refine = down.refine
        self.fused = fuse_first_convs(head, down.reduce, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        # The fused convolution is wrong in the first row and column: see `fuse_first_convs`. Three
        # rows of pixels are all that the first row of `reduce` sees.
        first_row = self.reduce(self.head(image[:, :, :3])[:, :, :2])
        first_column = self.reduce(self.head(image[..., :3])[..., :2])
        f1 = torch.cat([first_column, self.fused(image)[..., 1:]], dim=3)
        f1 = torch.cat([first_row, f1[:, :, 1:]], dim=2)
        return F.relu(self.refine(F.relu(f1)))


class _RowALFM(nn.Module):
    """ALFM on rows `[H * W, C]`, the order of channels in OpenVINO's memory."""

    def __init__(self, alfm: ALFM) -> None:
        super().__init__()
        self.theta = alfm.theta
        self.gram = alfm.gram

    def forward(self, group: Tensor) -> Tensor:
        rows = group.permute(0, 2, 3, 1).flatten(1, 2)
        products = rows.transpose(1, 2) @ rows
        if self.gram == "mean":
            products = products / rows.shape[1]
        mixed = rows @ (self.theta * torch.softmax(products, dim=2)).transpose(1, 2)
        return mixed.view(1, group.shape[2], group.shape[3], -1).permute(0, 3, 1, 2) + group
