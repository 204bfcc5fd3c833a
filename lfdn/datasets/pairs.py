"""A folder of pairs, degraded as in training: `input/`, `target/` and `degrade.json`."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lfdn.datasets.data import DataError, Sample, to_tensor, write_picture
from lfdn.degrade import BlurMix, RainMix, blur, optical_flow, rain

Kind = Literal["rain", "blur"]


def write_pairs(
    samples: Sequence[Sample],
    target: Path,
    *,
    kind: Kind,
    seed: int,
    bank: Tensor | None = None,
) -> Iterator[Path]:
    """Degrade the clean picture of each sample, whole, and yield its file in `target/input`.

    Picture i is a function of (seed, i). `target` is complete with its `degrade.json`, which comes
    last. Raises DataError if it exists, or for two samples of one name.
    """
    if target.exists():
        raise DataError(f"{target}: exists; name a new folder")
    names = [sample.name.replace("/", "_") + ".png" for sample in samples]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise DataError(f"{target / 'input' / twice}: two pictures have this name; degrade apart")
    for index, (sample, name) in enumerate(zip(samples, names, strict=True)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        clean = to_tensor(sample.clean.read())
        if kind == "rain":
            degraded, wanted = rain(clean, generator=generator, bank=bank)
        else:
            degraded, wanted = blur(clean, generator=generator, flow=_flow(sample))
        write_picture(wanted, target / "target" / name)
        write_picture(degraded, target / "input" / name)
        yield target / "input" / name
    mix = asdict(RainMix() if kind == "rain" else BlurMix())
    told = {"kind": kind, "seed": seed, "mix": mix, "pictures": names}
    (target / "degrade.json").write_text(json.dumps(told, indent=1) + "\n")


def _flow(sample: Sample) -> Tensor | None:
    """`[1, 2, H, W]`: the motion to the next frame, where there is one."""
    if sample.following is None:
        return None
    flow = optical_flow(sample.clean.read(), sample.following.read())
    return torch.from_numpy(flow.copy()).permute(2, 0, 1)[None]
