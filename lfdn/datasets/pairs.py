"""A folder of pairs, degraded as in training: `input/`, `target/` and `degrade.json`."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lfdn.datasets.images import DataError, to_tensor, write_image
from lfdn.datasets.samples import Sample
from lfdn.degrade import BlurMix, RainMix, blur, optical_flow, rain

DegradationKind = Literal["rain", "blur"]


def write_pairs(
    samples: Sequence[Sample],
    target: Path,
    *,
    kind: DegradationKind,
    seed: int,
    bank: Tensor | None = None,
) -> Iterator[Path]:
    """Degrade the whole clean image of each sample, and write both.

    Image i is a function of (seed, i). `degrade.json` is written last: a folder with it is
    complete.

    Args:
        samples: Their degraded counterparts are ignored.
        target: A new folder.
        kind: `rain` or `blur`; blur follows the motion to the next frame where there is one.
        seed: Makes the images repeatable.
        bank: Streak layers for rain, uint8 `[K, h, w]`.

    Yields:
        The path in `target/input` of each sample, once it is written.

    Raises:
        DataError: `target` exists, two samples have the same name, or an image cannot be read.
    """
    if target.exists():
        raise DataError(f"{target}: exists; name a new folder")
    names = [sample.name.replace("/", "_") + ".png" for sample in samples]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise DataError(f"{target / 'input' / twice}: two images have this name; degrade apart")
    for index, (sample, name) in enumerate(zip(samples, names, strict=True)):
        # A prime factor keeps the sequences of neighbouring seeds apart, up to a million images.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        original = to_tensor(sample.clean.read())
        if kind == "rain":
            degraded, clean = rain(original, generator=generator, bank=bank)
        else:
            degraded, clean = blur(original, generator=generator, flow=_estimate_flow(sample))
        write_image(clean, target / "target" / name)
        write_image(degraded, target / "input" / name)
        yield target / "input" / name
    mix = asdict(RainMix() if kind == "rain" else BlurMix())
    settings = {"kind": kind, "seed": seed, "mix": mix, "pictures": names}
    (target / "degrade.json").write_text(json.dumps(settings, indent=1) + "\n")


def _estimate_flow(sample: Sample) -> Tensor | None:
    """Estimate the motion to the next frame in px, `[1, 2, H, W]`; None without a next frame."""
    if sample.following is None:
        return None
    flow = optical_flow(sample.clean.read(), sample.following.read())
    return torch.from_numpy(flow.copy()).permute(2, 0, 1)[None]
