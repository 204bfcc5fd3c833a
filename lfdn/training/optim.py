"""Muon: an optimizer that orthogonalizes the momentum of each matrix before a step.

Keller Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the weights of
a convolution, as a matrix `[out, in · height · width]`, take steps whose singular values are all
about 1, so that no direction learns slower than the others. Steps are scaled to the size of AdamW's
(Liu et al. 2025, "Muon is scalable for LLM training", section 2.2), so that learning rates and
weight decay carry over. Parameters that are not matrices (biases, scalars) use AdamW.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (
    3.4445,
    -4.7750,
    2.0315,
)  # of Jordan's quintic, which moves values in 0…1 to about 1
ADAMW_RMS = 0.2  # root mean square of AdamW's typical update, before the learning rate


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two or more dimensions, AdamW for the others.

    Args:
        parameters: Parameters of the network.
        lr: Learning rate; may be changed in `param_groups` before each step.
        weight_decay: Decoupled weight decay, as in AdamW.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0
    ) -> None:
        every = list(parameters)
        # Both groups are in `param_groups`, so that schedulers and the training loop see one
        # optimizer; the AdamW inside gets its rate from the second one at every step.
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
            # An orthogonal update has a root mean square of 1 / sqrt(max(rows, columns)).
            rate = group["lr"] * ADAMW_RMS * max(rows, columns) ** 0.5
            for parameter, update in zip(parameters, orthogonalize(updates), strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update.view(parameter.shape), alpha=rate)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimizers."""
        return {**super().state_dict(), "others": self._others.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        state = dict(state_dict)
        self._others.load_state_dict(state.pop("others"))
        super().load_state_dict(state)

    def _update_momentum(self, parameter: nn.Parameter) -> Tensor:
        """Update the momentum of a parameter; return Nesterov's look-ahead, as a matrix."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).flatten(1)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Move the singular values of matrices to about 1, by Newton-Schulz iteration.

    Args:
        matrices: `[N, rows, columns]`.

    Returns:
        Matrices with the same singular vectors, `[N, rows, columns]`.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.mT if tall else matrices  # the products below have the shorter side
    # The Frobenius norm is at least the largest singular value: all are in 0…1 from here.
    result = result / (result.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = result @ result.mT
        result = a * result + (b * square + c * square @ square) @ result
    return result.mT if tall else result  # type: ignore[no-any-return]  # torch
