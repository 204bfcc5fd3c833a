"""The optimizer of a step that a GPU runs by itself: few launches, and no value read by the CPU.

The same updates as `lfdn.training.optim.Muon` and PyTorch's AdamW and Adam, with the clipping
before and the averaging after them. The learning rate and the number of steps are tensors, so that
a captured CUDA graph can be replayed with new ones.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lfdn.training.optim import ADAMW_RMS, MOMENTUM, orthogonalize
from lfdn.training.recipe import TrainOptions

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class FusedOptimizer:
    """Clips the gradients, updates the parameters, and averages them.

    Args:
        parameters: Parameters of the network.
        averages: The averaged parameters, in the same order.
        options: Optimizer, weight decay, largest norm, decay of the average.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], averages: Sequence[Tensor], options: TrainOptions
    ) -> None:
        device = parameters[0].device
        self.rate = torch.zeros((), device=device)
        """The learning rate of the next step; filled before it."""
        self._options = options
        self._parameters: list[Tensor] = list(parameters)
        self._averages = list(averages)
        self._count = torch.zeros((), device=device)
        muon = options.optimizer == "muon"
        self._others: list[Tensor] = [p for p in parameters if not muon or p.ndim <= 1]
        self._matrices: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            if muon and parameter.ndim > 1:
                self._matrices[len(parameter), parameter[0].numel()].append(parameter)
        self._momenta = [
            torch.zeros(len(members), *shape, device=device)
            for shape, members in self._matrices.items()
        ]
        self._means = [torch.zeros_like(p) for p in self._others]
        self._squares = [torch.zeros_like(p) for p in self._others]

    @torch.no_grad()
    def step(self) -> Tensor:
        """Update parameters and averages by the gradients; return the gradients' norm."""
        gradients = [_get_gradient(parameter) for parameter in self._parameters]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (self._options.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        before = self._count.clone()
        self._count.add_(1)
        self._update_matrices()
        self._update_others()
        # As `train` averages: the first step replaces the average.
        kept = ((1 + before) / (10 + before)).clamp(max=self._options.ema_decay) * (before > 0)
        change = torch._foreach_sub(self._parameters, self._averages)
        torch._foreach_mul_(change, 1 - kept)
        torch._foreach_add_(self._averages, change)
        return norm

    def get_state(self) -> list[Tensor]:
        """Return every tensor that `step` changes in place, parameters and averages included."""
        return [*self._parameters, *self._averages, *self._get_own_state()]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return what a checkpoint holds of the optimizer."""
        return {"tensors": self._get_own_state()}

    def load_state_dict(self, state_dict: Mapping[str, Sequence[Tensor]]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: It is of another network or optimizer.
        """
        pairs = list(zip(self._get_own_state(), state_dict["tensors"], strict=True))
        if any(own.shape != saved.shape for own, saved in pairs):
            raise ValueError("the state of another optimizer")
        for own, saved in pairs:
            own.copy_(saved)

    def _get_own_state(self) -> list[Tensor]:
        return [self._count, *self._momenta, *self._means, *self._squares]

    def _update_matrices(self) -> None:
        decay = 1 - self.rate * self._options.weight_decay
        for momentum, (shape, members) in zip(self._momenta, self._matrices.items(), strict=True):
            gradient = torch.stack([_get_gradient(p).reshape(shape) for p in members])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalize(gradient.lerp(momentum, MOMENTUM))
            update = update * (self.rate * (ADAMW_RMS * max(shape) ** 0.5))
            # In the layout of the parameters: mixed layouts would be subtracted one by one.
            own = [
                torch.empty_like(p).copy_(change.view(p.shape))
                for change, p in zip(update.unbind(0), members, strict=True)
            ]
            torch._foreach_mul_(members, decay)
            torch._foreach_sub_(members, own)

    def _update_others(self) -> None:
        options, (beta_1, beta_2) = self._options, BETAS
        gradients = [_get_gradient(parameter) for parameter in self._others]
        if options.optimizer == "adam":
            gradients = list(
                torch._foreach_add(gradients, self._others, alpha=options.weight_decay)
            )
        torch._foreach_lerp_(self._means, gradients, 1 - beta_1)
        torch._foreach_mul_(self._squares, beta_2)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1 - beta_2)
        divisor = torch._foreach_div(self._squares, 1 - beta_2**self._count)
        torch._foreach_sqrt_(divisor)
        torch._foreach_add_(divisor, EPSILON)
        update = torch._foreach_div(self._means, divisor)
        torch._foreach_mul_(update, self.rate / (1 - beta_1**self._count))
        if options.optimizer != "adam":
            torch._foreach_mul_(self._others, 1 - self.rate * options.weight_decay)
        torch._foreach_sub_(self._others, update)


def _get_gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
