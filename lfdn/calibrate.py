"""Makes the 8-bit form of a network, from pictures that show what values its layers have.

NNCF's post-training quantization: nothing is trained, a few dozen pictures go through the network.
For those who package weights; users read the result with `quantized.py` and need no NNCF.

The network is first rearranged as far as OpenVINO gains by it: the first two convolutions become
one, and ALFM's products are written over rows. The first layer, the encoder and the last layer stay
in float: what the encoder rounds is carried on through every sum behind it. Ranges are those with
the least error for the histogram of what was seen (docs/log.md, 2026-11-26).
"""

import copy
import json
import warnings
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import nncf
import openvino
import torch
import torch.nn.functional as F
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from torch import Tensor, nn

from lfdn.cpu import first_two_as_one
from lfdn.datasets.data import Sample, to_tensor
from lfdn.degrade import blur, rain
from lfdn.int8 import ABOUT, CONSTANTS, FORMAT, MODEL
from lfdn.model import ALFM, LFDN, MSHF, AttentionFusion, DownBlock

CALIBRATION_PX = 320
IN_FLOAT = (r".*entry\.(both|head|reduce).*", r".*encoder.*", r".*decoder\.3.*")
EPOCH = (1980, 1, 1, 0, 0, 0)  # of what is in the zip, so that the same makes the same file


def convert(network: LFDN) -> openvino.Model:
    """The change of a picture `[1, 3, H, W]` with sides that are multiples of 16, in float32."""
    module = _Changes(copy.deepcopy(network).eval())
    with _without_warnings():
        return openvino.convert_model(module, example_input=torch.rand(1, 3, 64, 64))


def quantize(network: LFDN, pictures: Sequence[Tensor]) -> openvino.Model:
    """`convert`, in 8 bit. `pictures`: degraded ones, all of one size."""
    model = convert(network)
    model.reshape(list(pictures[0].shape))
    ranges = RangeEstimatorParametersSet.HISTOGRAM
    options = AdvancedQuantizationParameters(activations_range_estimator_params=ranges)
    with _without_warnings():
        return nncf.quantize(
            model,
            nncf.Dataset([picture.numpy() for picture in pictures]),
            subset_size=len(pictures),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(patterns=list(IN_FLOAT), validate=False),
            advanced_parameters=options,
        )


def save(model: openvino.Model, path: Path, *, digest: str) -> None:
    """Write the file that `load_quantized` reads. `digest`: of the weights it was made from."""
    about = {"format": FORMAT, "digest": digest}
    about |= {"openvino": openvino.__version__, "nncf": nncf.__version__}
    with TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder, MODEL), compress_to_fp16=True)
        parts = {name: Path(folder, name).read_bytes() for name in (MODEL, CONSTANTS)}
    parts[ABOUT] = (json.dumps(about, indent=1) + "\n").encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


def calibration_pictures(
    samples: Iterable[Sample], *, task: str, seed: int, bank: Tensor | None = None
) -> Iterator[Tensor]:
    """The degraded middle of each sample, `[1, 3, 320, 320]`; clean ones are degraded first."""
    generator = torch.Generator().manual_seed(seed)
    for sample in samples:
        picture = sample.degraded or sample.clean
        image = _middle(to_tensor(picture.read()))
        if image is None:
            continue
        if sample.degraded is None:
            degrade: Any = rain if task == "derain" else blur
            options = {"bank": bank} if task == "derain" else {}
            image, _ = degrade(image, generator=generator, **options)
        yield image


@contextmanager
def _without_warnings() -> Generator[None]:
    """Both libraries warn of how they use torch, which is not ours to change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _middle(image: Tensor) -> Tensor | None:
    height, width = image.shape[-2:]
    if min(height, width) < CALIBRATION_PX:
        return None
    top, left = (height - CALIBRATION_PX) // 2, (width - CALIBRATION_PX) // 2
    return image[..., top : top + CALIBRATION_PX, left : left + CALIBRATION_PX].contiguous()


class _Changes(nn.Module):
    """What an LFDN adds to a picture that needs no padding."""

    def __init__(self, network: LFDN) -> None:
        super().__init__()
        if not isinstance(network.encoder, MSHF) or not isinstance(network.fusion, AttentionFusion):
            raise TypeError("encoder, fusion: only the default's parts can be converted")
        self.entry = _Entry(network.head, network.encoder.down_1)
        self.encoder, self.blocks, self.decoder = network.encoder, network.blocks, network.decoder
        network.fusion.alfm = cast("ALFM", _RowALFM(network.fusion.alfm))
        self.fusion = network.fusion

    def forward(self, picture: Tensor) -> Tensor:
        encoder = self.encoder
        f2 = encoder.res_2(encoder.down_2(self.entry(picture)))
        f3 = encoder.res_3(encoder.down_3(f2))
        f4 = encoder.res_4(encoder.down_4(f3))
        f3 = encoder.fuse_3(f3 + encoder.up_4(f4))
        features = encoder.fuse_2(f2 + encoder.up_3(f3))
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        change: Tensor = self.decoder(self.fusion(outputs))
        return change


class _Entry(nn.Module):
    """f1 of the picture. See `lfdn.cpu`, which does the same."""

    def __init__(self, head: nn.Conv2d, down: DownBlock) -> None:
        super().__init__()
        self.head, self.reduce, self.refine = head, down.reduce, down.refine
        self.both = first_two_as_one(head, down.reduce, padding=2)

    def forward(self, picture: Tensor) -> Tensor:
        first_row = self.reduce(self.head(picture[:, :, :3])[:, :, :2])
        first_column = self.reduce(self.head(picture[..., :3])[..., :2])
        f1 = torch.cat([first_column, self.both(picture)[..., 1:]], dim=3)
        f1 = torch.cat([first_row, f1[:, :, 1:]], dim=2)
        return F.relu(self.refine(F.relu(f1)))


class _RowALFM(nn.Module):
    """ALFM on `[H * W, C]`, which is how channels lie in OpenVINO's memory."""

    def __init__(self, alfm: ALFM) -> None:
        super().__init__()
        self.theta, self.gram = alfm.theta, alfm.gram

    def forward(self, group: Tensor) -> Tensor:
        rows = group.permute(0, 2, 3, 1).flatten(1, 2)
        products = rows.transpose(1, 2) @ rows
        if self.gram == "mean":
            products = products / rows.shape[1]
        mixed = rows @ (self.theta * torch.softmax(products, dim=2)).transpose(1, 2)
        return mixed.view(1, group.shape[2], group.shape[3], -1).permute(0, 3, 1, 2) + group
