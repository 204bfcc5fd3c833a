"""The shape of LFDN: every choice that the paper's Tables 6 and 9 compare is a field."""

from dataclasses import dataclass
from typing import Literal, get_args

Encoder = Literal["mshf", "plain"]
Block = Literal["fdnb", "rfdb", "conv"]
Fusion = Literal["attention", "concat"]
Gram = Literal["mean", "sum"]
NetworkName = Literal["full", "lite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LFDNConfig:
    """The shape of the network. The defaults are the paper's network (1.54 M parameters).

    Args:
        widths: Channels of f0…f4, at 1, 1/2, 1/4, 1/8 and 1/16 of the input's size. C of the paper
            is `widths[2]`; it must be even.
        blocks: N, the number of distillation blocks in a row (Table 9: 1 to 6).
        encoder: `plain` replaces MSHF by strided convolutions and two residual blocks (Table 6).
        block: `rfdb` is residual feature distillation without normalization, `conv` plain
            convolutions (Table 6).
        fusion: `concat` concatenates and convolves features, without ALFM and ACFM (Table 6).
        cca_reduction: Divisor of the channels inside the contrast-aware channel attention.
        gram: `mean` averages ALFM's products over positions, so that they do not grow with the
            image; `sum` is Eq. 9 to the letter.
        residual: Output = input + network(input). If false, the network predicts the image itself,
            as in the paper.

    Raises:
        ValueError: A field's value is invalid; the message names it and lists the valid ones.
    """

    widths: tuple[int, int, int, int, int] = (50, 50, 50, 75, 100)
    blocks: int = 4
    encoder: Encoder = "mshf"
    block: Block = "fdnb"
    fusion: Fusion = "attention"
    cca_reduction: int = 16
    gram: Gram = "mean"
    residual: bool = True

    def __post_init__(self) -> None:
        # JSON has no tuples: a configuration that was read from a weights file has a list here.
        object.__setattr__(self, "widths", tuple(self.widths))
        if len(self.widths) != 5 or any(width < 1 for width in self.widths):
            raise ValueError(f"widths: five positive channel counts are needed, got {self.widths}")
        if self.channels % 2:
            raise ValueError(f"widths[2]: must be even, half goes each way; got {self.channels}")
        if self.blocks < 1:
            raise ValueError(f"blocks: at least 1 is needed, got {self.blocks}")
        choices = {"encoder": Encoder, "block": Block, "fusion": Fusion, "gram": Gram}
        for name, literal in choices.items():
            allowed = get_args(literal)
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {', '.join(allowed)}")

    @property
    def channels(self) -> int:
        """C of the paper: the width of the distillation blocks."""
        return self.widths[2]


NETWORKS: dict[NetworkName, LFDNConfig] = {
    "full": LFDNConfig(),
    "lite": LFDNConfig(widths=(24, 24, 24, 40, 56)),
}
"""The networks that have a name: the paper's, and a narrower one for live video on a CPU."""
