"""What a run is about to do, told before its first step. Prints nothing."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lfdn.datasets.resident import share_pairs
from lfdn.datasets.samples import Sample
from lfdn.training.recipe import TrainOptions


@dataclass(frozen=True, slots=True)
class SetSummary:
    """One data set of a run."""

    name: str
    """As it was given, `LAYOUT=PATH`; empty for samples that were made otherwise."""
    pairs: int
    """Pairs of the training split."""
    clean: int
    """Clean images of the training split, to be degraded."""
    held_back: int
    """Samples of the validation split."""
    share: float
    """Share of the crops that come from it, 0…1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run before its first step in this session."""

    options: TrainOptions
    parameters: int
    """Of the network."""
    sets: tuple[SetSummary, ...]
    streaks: int
    """Streak layers for synthetic rain."""
    device: str
    """Such as `cpu` or `cuda:1`; in several processes that of the first."""
    processes: int
    threads: int
    """CPU threads of the network in this process."""
    precision: str
    """`float32` or `bfloat16`."""
    validation_pairs: int
    """Pairs that each validation restores."""
    validation_px: int
    """Their px in all."""
    step: int
    """Steps that are done: 0 in a new run."""
    seconds: float
    """Time that was spent on them."""
    best: float
    """Highest validation PSNR so far in dB; -inf without one."""
    learning_rate: float
    """Of the next step."""
    grown: tuple[tuple[str, float, float], ...] = ()
    """What was made longer since the last session: (`steps` or `seconds`, before, now)."""


def summarize_sets(
    training: Sequence[Sample], held_back: Sequence[Sample], options: TrainOptions
) -> tuple[SetSummary, ...]:
    """Count the samples of each data set, and the crops that come from them.

    Crops of a pair, and of a clean image, are equally frequent, but for `pair_weights`. Images that
    are too small for some stages count like the others.

    Args:
        training: The training split.
        held_back: The validation split.
        options: Of the run.

    Returns:
        The sets in the order of the samples.

    Raises:
        DataError: `pair_weights` names no pair.
    """
    pairs = [sample for sample in training if sample.degraded is not None]
    clean = [sample for sample in training if sample.degraded is None]
    of_pairs = 1.0 if not clean else options.paired_share if pairs else 0.0
    shares: defaultdict[str, float] = defaultdict(float)
    weights = share_pairs([sample.name for sample in pairs], options.pair_weights)
    for sample, weight in zip(pairs, weights, strict=True):
        shares[sample.dataset] += of_pairs * float(weight / weights.sum())
    for sample in clean:
        shares[sample.dataset] += (1 - of_pairs) / len(clean)
    counts = [Counter(sample.dataset for sample in part) for part in (pairs, clean, held_back)]
    names = dict.fromkeys(sample.dataset for sample in (*held_back, *training))
    return tuple(
        SetSummary(name, counts[0][name], counts[1][name], counts[2][name], shares[name])
        for name in names
    )
