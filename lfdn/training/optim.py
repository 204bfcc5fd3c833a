"""Muon: momentum whose matrices are made orthogonal before each step.

Keller Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the weights of
a convolution, as a matrix `[out, in · height · width]`, take steps whose singular values are all
alike, so that no direction learns slower than the others. The size of a step is scaled to that of
AdamW (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2), so learning rates and
weight decay mean the same for both. Parameters that are not matrices (biases, scalars) use AdamW.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values to about 1
ADAMW_RMS = 0.2  # of an update, before the learning rate


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two dimensions or more, AdamW for the others."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0
    ) -> None:
        every = list(parameters)
        matrices = [parameter for parameter in every if parameter.ndim > 1]
        others = [parameter for parameter in every if parameter.ndim <= 1]
        super().__init__(
            [
                {"params": matrices, "lr": lr, "weight_decay": weight_decay},
                {"params": others, "lr": lr, "weight_decay": weight_decay},
            ],
            {},
        )
        self._others = torch.optim.AdamW([{"params": others}], lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = closure() if closure is not None else None
        group, others = self.param_groups
        self._others.param_groups[0]["lr"] = others["lr"]
        self._others.step()
        # Matrices of one shape are made orthogonal together: one batched product instead of many.
        by_shape = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape[parameter[0].numel(), len(parameter)].append(parameter)
        for (columns, rows), parameters in by_shape.items():
            updates = torch.stack([self._update_momentum(parameter) for parameter in parameters])
            rate = group["lr"] * ADAMW_RMS * max(rows, columns) ** 0.5
            for parameter, update in zip(parameters, orthogonalize(updates), strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update.view(parameter.shape), alpha=rate)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimizers."""
        return {**super().state_dict(), "others": self._others.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        state = dict(state_dict)
        self._others.load_state_dict(state.pop("others"))
        super().load_state_dict(state)

    def _update_momentum(self, parameter: nn.Parameter) -> Tensor:
        """Update the momentum; returns Nesterov's look-ahead, as a matrix."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).flatten(1)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Pull the singular values of `[N, rows, columns]` to about 1, by Newton-Schulz iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.mT if tall else matrices  # the products below are then of the shorter side
    result = result / (result.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = result @ result.mT
        result = a * result + (b * square + c * square @ square) @ result
    return result.mT if tall else result  # type: ignore[no-any-return]  # torch
