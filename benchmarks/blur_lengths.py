"""What deblurring gains by the length of the blur: straight, even, in linear light, without noise.

    python benchmarks/blur_lengths.py PHOTOS --weights deblur

Pictures are shrunk to 320 px of width and moved along a straight line of random direction. Means of
PSNR on RGB, 8 bit, against the sharp picture. The easiest blur there is; what is gained here is a
bound on what can be gained on real ones of that length.
"""

import math
from pathlib import Path

import click
import torch
from torch import Tensor

import lfdn
from lfdn.datasets.images import to_tensor
from lfdn.datasets.layouts import read_clean
from lfdn.degrade import average_along
from lfdn.metrics import psnr, round_to_8_bit

WIDTH_PX, PICTURES, SUBFRAMES = 320, 10, 25
LENGTHS_PX = (1.5, 3.0, 5.0, 8.0, 12.0, 18.0)


def pictures(folder: Path) -> list[Tensor]:
    """Some of the folder's, `[1, 3, H, 320]`, spread evenly over their names."""
    samples = read_clean(folder)
    chosen = samples[:: max(1, len(samples) // PICTURES)][:PICTURES]
    found = [to_tensor(sample.clean.read()) for sample in chosen]
    return [
        torch.nn.functional.interpolate(
            image, size=(round(image.shape[2] * WIDTH_PX / image.shape[3]), WIDTH_PX), mode="area"
        )
        for image in found
    ]


def blurred(sharp: Tensor, length_px: float, number: int) -> Tensor:
    """Along a line whose direction is a function of the picture's number."""
    angle = 2 * math.pi * torch.rand(1, generator=torch.Generator().manual_seed(number)).item()
    path = torch.zeros(1, SUBFRAMES, 4)
    when = length_px * torch.linspace(-0.5, 0.5, SUBFRAMES)
    path[0, :, 0], path[0, :, 1] = when * math.cos(angle), when * math.sin(angle)
    return average_along(sharp, path, torch.zeros_like(sharp[:, :2]))


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--weights", multiple=True, default=("deblur",), show_default=True)
def main(folder: Path, weights: tuple[str, ...]) -> None:
    """Gain by length."""
    sharp = [round_to_8_bit(image) for image in pictures(folder)]
    networks = [lfdn.load(name if not Path(name).exists() else Path(name)) for name in weights]
    for length_px in LENGTHS_PX:
        rows = []
        for number, target in enumerate(sharp):
            source = round_to_8_bit(blurred(target, length_px, number))
            with torch.inference_mode():
                outputs = [round_to_8_bit(network(source).clamp(0, 1)) for network in networks]
            rows.append([psnr(image, target).item() for image in (source, *outputs)])
        means = torch.tensor(rows).mean(dim=0).tolist()
        gains = "  ".join(f"{mean - means[0]:+.2f}" for mean in means[1:])
        click.echo(f"{length_px:5.1f} px  input {means[0]:.2f} dB  gain {gains} dB")


if __name__ == "__main__":
    main()
