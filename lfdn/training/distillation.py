"""Distillation: a trained network, the teacher, helps a narrower one to learn.

The student's loss is (1 - w) · loss(student, truth) + w · loss(student, teacher), both on the
output: features of networks of different widths cannot be compared. With a loss that grows with
the distance, such as Charbonnier, and w below one half, the truth stays the minimum. Between
teacher and truth the gradient is weakened to 1 - 2w: what even the teacher cannot restore, which is
noise to a small network, pulls less, while what the teacher misses is still learnt.
"""

import dataclasses
import json

import torch
from torch import Tensor

from lfdn.model import LFDN
from lfdn.training.losses import LOSSES, measure_damage
from lfdn.training.recipe import TrainOptions
from lfdn.weights import compute_digest


class Teacher:
    """A trained network, and the loss of a student beside it.

    Args:
        network: The trained network; moved to the device.
        options: The recipe: loss, weight of the teacher, precision.
        device: Device of the training.
    """

    def __init__(self, network: LFDN, options: TrainOptions, device: torch.device) -> None:
        config = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
        self.digest = compute_digest(config, network.state_dict())
        """SHA-256 of its configuration and weights, hexadecimal."""
        # As the student runs, not rearranged for inference (`lfdn.cpu`), which restores image by
        # image: on a batch of small crops that takes more than twice the time.
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = network.eval()
        self._loss = LOSSES[options.loss]
        self._weight = options.teacher_weight
        self._autocast = options.uses_autocast(device.type)

    def compute_loss(self, restored: Tensor, target: Tensor, degraded: Tensor) -> Tensor:
        """Compute the student's loss against truth and teacher.

        Args:
            restored: The student's output, float32 `[B, 3, H, W]`.
            target: The truth, like `restored`.
            degraded: The student's input, like `restored`.

        Returns:
            A scalar.
        """
        with (
            torch.no_grad(),
            torch.autocast(
                degraded.device.type,
                torch.bfloat16,
                enabled=self._autocast,
                cache_enabled=False,  # it would outlive a CUDA graph
            ),
        ):
            taught = self._network(degraded)
        damage = measure_damage(degraded, target)
        to_teacher = self._loss(restored, taught.float().clamp(0, 1), damage)
        to_truth = self._loss(restored, target, damage)
        return (1 - self._weight) * to_truth + self._weight * to_teacher
