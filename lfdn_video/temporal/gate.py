"""The gate: how much of what its neighbours show a sample takes.

    evidence ─┬─▶ features ─▶ small layers ─┬─▶ mix ─▶ weights over the restored sample, the
              └─▶ rule: shape and colour ───┘          decoded one, the neighbours' in order

The weights of a place sum to 1, so a result lies between what was seen. The layers were fitted to
rain drawn on dry clips (`pipelines/train_gate.py`); the rule knows no clip. They err differently:
in much rain their mean is better than either, on rain that the layers have not seen. In little rain
the layers decide alone, which see what moves by itself. What the features are is decided here, and
the file of the layers fits them alone.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Places
from lfdn_video.temporal.evidence import SLOTS, Evidence
from lfdn_video.temporal.flow import Floats
from lfdn_video.temporal.rule import Verdict, propose
from lfdn_video.temporal.shapes import find_lines, find_tracks, to_codes

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

MIDDLE_SLOTS = (1, 2, 3, 4)
"""Where the rule goes: the mean of these is less noisy than the median, by .3 dB on held-back
clips, and as little moved by one sample that is far off."""

CHOICES = 2 + SLOTS
"""Restored sample, decoded sample, slots."""

PATCH_PX = 5
"""Side of the square around a place whose excess over the neighbours is seen sample by sample."""

WIDER_PX = (3, 9, 33)
"""Sides of the squares over which the mean of what is darker, and of what the network took, is
seen."""

CODES = 8.0
"""Differences are divided by this many 8-bit codes."""

LIMIT = 4.0
"""No feature is larger."""

RULE_PART = 0.5
RULE_SHARES = (0.01, 0.02)
"""Share of brighter samples to which the rule is not asked, and from which it counts in full. Among
few of them may be insects, confetti or glints (seen: to .9 %), whose tracks it does not see."""

ROWS = 4096
"""Places that go through the layers at once, as many as fit the cache."""

COLUMNS = 32
"""Places of one product of matrices. So small a product is made by the thread that asks for it;
larger ones BLAS shares out to threads of its own, as many for each of ours as there are cores."""


class Gate:
    """Weighs what was seen.

    Args:
        layers: `weight0`, `bias0`, and so on, of dense layers with rectifiers between them.
    """

    def __init__(self, layers: Mapping[str, Floats]) -> None:
        count = len(layers) // 2
        self._layers = [
            (
                np.ascontiguousarray(layers[f"weight{n}"].T, np.float32),
                np.asarray(layers[f"bias{n}"], np.float32)[:, None],
            )
            for n in range(count)
        ]

    def weigh(self, features: Floats) -> Floats:
        """Weigh the choices.

        Args:
            features: `[features, n]`, of `describe`.

        Returns:
            `[CHOICES, n]`; each column sums to 1.
        """
        weights = np.empty((CHOICES, features.shape[1]), np.float32)
        whole = features.shape[1] // COLUMNS * COLUMNS
        for start in range(0, whole, ROWS):
            block = np.s_[:, start : min(start + ROWS, whole)]
            weights[block] = self._weigh(features[block], COLUMNS)
        if whole < features.shape[1]:
            rest = np.s_[:, whole:]
            weights[rest] = self._weigh(features[rest], features.shape[1] - whole)
        return weights

    def _weigh(self, features: Floats, columns: int) -> Floats:
        """Weigh a multiple of `columns` places."""
        values = features.reshape(len(features), -1, columns).swapaxes(0, 1)
        for weight, bias in self._layers[:-1]:
            values = np.maximum(np.matmul(weight, values) + bias, 0)
        weight, bias = self._layers[-1]
        values = np.matmul(weight, values) + bias
        np.exp(values - values.max(1, keepdims=True), out=values)
        values /= values.sum(1, keepdims=True)
        weights: Floats = values.swapaxes(0, 1).reshape(CHOICES, -1)
        return weights

    def decide(self, evidence: Evidence, verdict: Verdict, colours: Floats) -> Floats:
        """Weigh the choices at the places of a frame.

        Args:
            evidence: of the frame.
            verdict: of the switch on it.
            colours: as for `describe`.

        Returns:
            As `weigh`.
        """
        down, up = propose(evidence, verdict.brighter, colours)
        features = describe(evidence, verdict, colours, proposed=(down, up))
        weights = self.weigh(features)
        part = find_rule_part(verdict)
        if part:
            weights += np.float32(part) * (follow_rule(evidence, down, up) - weights)
        return weights


def find_rule_part(verdict: Verdict) -> float:
    """Say how much the rule counts beside the layers: 0 to `RULE_PART`."""
    if verdict.by_input:
        return 0.0
    fewest, most = RULE_SHARES
    return RULE_PART * min(1.0, max(0.0, (verdict.share_brighter - fewest) / (most - fewest)))


def follow_rule(evidence: Evidence, down: Floats, up: Floats) -> Floats:
    """Weigh as the rule alone does it.

    Args:
        evidence: of the frame.
        down: how far a place goes down to the middle, as `propose` gives it.
        up: how far it goes up, but not above what was decoded.

    Returns:
        As `Gate.weigh`.
    """
    strength = np.maximum(down, up)
    to_decoded = np.where((up > 0) & (evidence.decoded < evidence.median), strength, 0)
    weights = np.zeros((CHOICES, len(strength)), np.float32)
    weights[0] = 1 - strength
    weights[1] = to_decoded
    for slot in MIDDLE_SLOTS:
        weights[2 + slot] = (strength - to_decoded) / len(MIDDLE_SLOTS)
    return weights


def describe(
    evidence: Evidence,
    verdict: Verdict,
    colours: Floats,
    *,
    proposed: tuple[Floats, Floats] | None = None,
) -> Floats:
    """Say what the layers see of each place.

    Args:
        evidence: of one frame.
        verdict: of the switch on it.
        colours: `[2, places]`: how the frame differs from its neighbours' mean in blueness and
            redness, in 8-bit codes.
        proposed: what `propose` says; None: it is asked.

    Returns:
        float32 `[features, places]`, within ±`LIMIT`.
    """
    picture, overview, places = evidence.picture, evidence.overview, evidence.places
    unit = np.float32(picture.levels.unit)
    luma = evidence.luma
    columns = [*((evidence.in_slots - luma) / unit), (evidence.decoded - luma) / unit]
    columns += [evidence.spread, *np.abs(colours), colours[0] - colours[1]]
    if proposed is None:
        proposed = propose(evidence, verdict.brighter, colours)
    columns += [CODES * each for each in proposed]
    excess = to_codes(cv.subtract(picture.luma, overview.median), picture.levels.unit)
    lack = to_codes(cv.subtract(overview.median, picture.decoded_luma), picture.levels.unit)
    taken = to_codes(cv.subtract(picture.decoded_luma, picture.luma), picture.levels.unit)
    columns += _cut_patches(excess, places)
    for plane in (lack, taken):
        columns += [4 * places.take(cv.blur(plane, (side, side))) for side in WIDER_PX]
    columns += find_tracks(evidence)
    columns += find_lines(evidence)
    square = np.ones((3, 3), np.uint8)
    slope = cv.morphologyEx(overview.median, cv.MORPH_GRADIENT, square)
    columns += [places.take(slope) / unit / 4]
    for side in (3, 7):
        near = places.take(cv.dilate(overview.largest, np.ones((side, side), np.uint8)))
        columns += [(near - luma) / unit]
    speed = evidence.neighbours[0].speed_at(places)
    columns += [CODES * np.log2(1 + speed) / 2, 2 * evidence.count]
    frame = (
        np.log10(verdict.share_brighter + 1e-4) + 2,
        min(verdict.false_alarms, 2.0),
        4 * verdict.share_taken - 2,
    )
    columns += [np.full(len(places), CODES * value) for value in frame]
    columns += [CODES * (luma - picture.levels.black) / (128 * unit)]
    features = np.empty((len(columns), len(places)), np.float32)
    for row, values in zip(features, columns, strict=True):
        row[:] = values
    for start in range(0, len(places), ROWS):
        block = features[:, start : start + ROWS]
        np.multiply(block, np.float32(1 / CODES), out=block)
        np.clip(block, -LIMIT, LIMIT, out=block)
    return features


def _cut_patches(plane: Plane, places: Places) -> list[Floats]:
    """Return the samples around each place, one array for each position in the square."""
    reach = PATCH_PX // 2
    padded = cv.copyMakeBorder(plane, reach, reach, reach, reach, cv.BORDER_REPLICATE)
    flat = padded.ravel()
    start = places.rows * padded.shape[1] + places.columns
    return [
        flat[start + (row * padded.shape[1] + column)].astype(np.float32)
        for row in range(PATCH_PX)
        for column in range(PATCH_PX)
    ]
