"""The network run by OpenVINO on a CPU, in bfloat16 or, as `lfdn.int8` reads it, in 8-bit integers.

`run_in_bfloat16(network)` returns a module with the contract of `LFDN.forward`. Where the CPU
computes in bfloat16 (`has_fast_bfloat16`), it takes half to two thirds of the time of `lfdn.cpu`,
and loses nothing that could be measured (docs/log.md, 2026-11-27). It needs OpenVINO (the extra
`openvino`).

The network is first rewritten where OpenVINO runs faster for it: the first two convolutions become
one, and ALFM's products are written over rows.
"""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.algebra import fuse_first_convs
from lfdn.model import (
    ALFM,
    LFDN,
    MSHF,
    STRIDE_PX,
    AttentionFusion,
    DownBlock,
    pad_to_multiple,
)

if TYPE_CHECKING:
    import openvino

FloatType: TypeAlias = Literal["f32", "bf16"]
"""How OpenVINO computes layers that are not quantized, by its own names."""

MAX_COMPILED_SIZES = 2
"""Compiled models in memory, one per image size. A folder's images may all differ in size, so the
number is limited; frames and tiles of a video do not. Several live streams need more."""


class OpenVinoMissingError(RuntimeError):
    """OpenVINO is not installed."""


@cache
def has_fast_bfloat16() -> bool:
    """Tell whether OpenVINO is installed and this CPU computes in bfloat16."""
    if find_spec("openvino") is None:
        return False
    try:
        core = import_openvino().Core()
        return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:  # one that is broken is as good as none
        return False


def run_in_bfloat16(network: nn.Module) -> nn.Module:
    """Convert a network for inference in bfloat16.

    Args:
        network: On the CPU. It is not changed.

    Returns:
        A module with the contract of `LFDN.forward`, for inference only; `network` itself if
        OpenVINO is missing, the CPU computes in float32 alone, or it is no LFDN of the default
        parts.
    """
    if not has_fast_bfloat16() or not isinstance(network, LFDN) or not _is_default(network):
        return network
    return OpenVinoLFDN(convert_to_openvino(network), "bf16")


class OpenVinoLFDN(nn.Module):
    """A network that OpenVINO runs. Restores images one by one; not thread-safe.

    Args:
        model: From an image to its residual, of any size.
        floats: How layers are computed that are not quantized.
    """

    def __init__(self, model: "openvino.Model", floats: FloatType) -> None:
        super().__init__()
        self._core = import_openvino().Core()
        self._model = model
        self._floats = floats
        # Of the thread that loads it: who calls it may leave all cores to OpenVINO.
        self._threads = torch.get_num_threads()
        self.most_sizes = MAX_COMPILED_SIZES
        """Image sizes for which it stays compiled."""
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
            while len(self._requests) >= self.most_sizes:
                self._requests.popitem(last=False)
            self._model.reshape(list(shape))
            compiled = compile_for_cpu(self._core, self._model, self._floats, threads=self._threads)
            self._requests[shape] = compiled.create_infer_request()
        self._requests.move_to_end(shape)
        return self._requests[shape]


def compile_for_cpu(
    core: "openvino.Core",
    model: "openvino.Model",
    floats: FloatType = "f32",
    *,
    threads: int | None = None,
) -> "openvino.CompiledModel":
    """Compile a model for one image at a time.

    Args:
        core: The OpenVINO runtime.
        model: A model with a fixed input shape.
        floats: How layers are computed that are not quantized. Left to itself, OpenVINO chooses
            bfloat16 on some CPUs, and the same file would give other results there.
        threads: Number of threads; None: as many as torch uses.
    """
    return core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": floats,
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        },
    )


def convert_to_openvino(network: LFDN) -> "openvino.Model":
    """Convert a network to OpenVINO, in float32.

    Args:
        network: With the default encoder, blocks and fusion. It is not changed.

    Returns:
        A model from an image, `[1, 3, H, W]` in 0…1 with sides that are multiples of 16, to its
        residual.

    Raises:
        TypeError: The network's encoder or fusion is not the default, or it has no residual.
        OpenVinoMissingError: OpenVINO is not installed.
    """
    if not _is_default(network):
        raise TypeError("encoder, fusion, residual: only the default's parts can be converted")
    openvino = import_openvino()
    module = _ResidualNetwork(copy.deepcopy(network).eval())
    with ignore_warnings():
        return openvino.convert_model(module, example_input=torch.rand(1, 3, 64, 64))


def import_openvino() -> Any:
    """Import OpenVINO.

    Raises:
        OpenVinoMissingError: It is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise OpenVinoMissingError(
            "needs OpenVINO; pip install 'lfdn-video[openvino]', or use float32"
        ) from error
    return openvino


def _is_default(network: LFDN) -> bool:
    parts = isinstance(network.encoder, MSHF) and isinstance(network.fusion, AttentionFusion)
    return parts and network.config.residual


@contextmanager
def ignore_warnings() -> Generator[None]:
    """Silence OpenVINO and NNCF, which warn of their own use of torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _ResidualNetwork(nn.Module):
    """The residual of an LFDN, without padding, written for OpenVINO."""

    def __init__(self, network: LFDN) -> None:
        super().__init__()
        self.encoder = cast("MSHF", network.encoder)
        self.entry = _FusedEntry(network.head, self.encoder.down_1)
        self.blocks = network.blocks
        self.decoder = network.decoder
        # `network` is the caller's copy, so its fusion may be changed in place.
        self.fusion = cast("AttentionFusion", network.fusion)
        self.fusion.alfm = cast("ALFM", _RowALFM(self.fusion.alfm))

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
