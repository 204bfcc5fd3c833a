"""A data set is a list of `Sample`. `lfdn.datasets.layouts` reads the published ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from lfdn.datasets.images import DataError, ImageSource

VALIDATION_EVERY = 20
"""Every 20th sample of a training set is in the validation split."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A clean image and, where the data set has one, its degraded counterpart."""

    name: str
    clean: ImageSource
    degraded: ImageSource | None = None
    following: ImageSource | None = None
    """The next frame, where the clean image is one of a sequence."""
    alternatives: tuple[ImageSource, ...] = ()
    """Further clean images, any of which may be the right reference; not for training."""
    dataset: str = ""
    """The data set that it was read from, `LAYOUT=PATH`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that its images are in: images, videos, or the pack that holds them."""
        images = (self.clean, self.degraded, self.following, *self.alternatives)
        return tuple(image.archive or image.path for image in images if image is not None)


def split_samples(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Split a training set.

    Returns:
        (training, validation): every 20th sample, from the first on, is in the validation split.
    """
    training = [s for i, s in enumerate(samples) if i % VALIDATION_EVERY]
    return training, list(samples[::VALIDATION_EVERY])


def limit_samples(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """Take some samples, evenly spread over all.

    Args:
        samples: A data set.
        limit: How many; None takes all, as a number does that is not smaller.

    Returns:
        The samples, in order; the same ones for the same set and limit.
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[index * len(samples) // limit] for index in range(limit)]


def exclude_samples(samples: Sequence[Sample], patterns: Sequence[str]) -> list[Sample]:
    """Leave out samples by name.

    Args:
        samples: A data set.
        patterns: Shell patterns, such as `dog/*`.

    Returns:
        The samples whose name matches no pattern, in order.

    Raises:
        DataError: A pattern matches no sample.
    """
    for pattern in patterns:
        if not any(fnmatch(sample.name, pattern) for sample in samples):
            raise DataError(f"--exclude: {pattern!r} matches no sample; check the pattern")
    return [s for s in samples if not any(fnmatch(s.name, pattern) for pattern in patterns)]
