"""The correction of one frame: samples move to what the gate makes of their neighbours'.

    evidence, verdict ─▶ gate ─▶ weights by place ─▶ planes
    evidence ─▶ texture ─▶ weights of the decoded samples ─▶ planes

A sample that is not moved keeps every bit. Each plane moves in its own depth; where planes are
smaller than luma, their samples move by the mean of the luma samples they belong to.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lfdn_video.media import Plane
from lfdn_video.temporal.align import Levels, Places
from lfdn_video.temporal.evidence import Evidence
from lfdn_video.temporal.flow import Floats
from lfdn_video.temporal.gate import Gate
from lfdn_video.temporal.rule import Verdict, find_near

LEAST_MOVE = 0.5
"""In 8-bit codes: a place whose luma would move less keeps every bit."""


def correct(evidence: Evidence, verdict: Verdict, gate: Gate) -> tuple[Plane, ...]:
    """Take the streaks out of a frame, and fill the dark holes that the network left.

    Args:
        evidence: what its neighbours show.
        verdict: of the switch.
        gate: decides how far samples move.

    Returns:
        Planes; those in which nothing moves, and alpha, are the frame's own.
    """
    picture = evidence.picture
    shown = sample_planes(evidence)
    weights = gate.decide(evidence, verdict, find_colours(evidence, shown))
    move = weights[1] * (evidence.decoded - evidence.luma)
    move += (weights[2:] * (evidence.in_slots - evidence.luma)).sum(0)
    chosen = (np.abs(move) >= LEAST_MOVE * picture.levels.unit) & find_near(evidence)
    if not chosen.any():
        return tuple(picture.restored)
    places = evidence.places.select(chosen)
    by_neighbour = _share_out(evidence, weights)[:, chosen]
    by_decoded = weights[1, chosen]
    planes = list(picture.restored)
    for index in range(picture.levels.components):
        own = places.take(planes[index])
        change = by_decoded * (places.take(picture.decoded[index]) - own)
        change += (by_neighbour * (shown[index][:, chosen] - own)).sum(0)
        planes[index] = _move(planes[index], places, change, picture.levels.peak)
    return tuple(planes)


def give_back(
    levels: Levels,
    decoded: Sequence[Plane],
    texture: tuple[Places, Floats],
    planes: tuple[Plane, ...],
) -> tuple[Plane, ...]:
    """Give back texture that the network took for rain.

    Args:
        levels: what the frame's samples mean.
        decoded: the frame before the network.
        texture: where and how much, of `find_texture`.
        planes: of the restored frame, or those of `correct`.

    Returns:
        Planes; the same ones if nothing is given back.
    """
    places, weights = texture
    if not len(places):
        return planes
    moved = list(planes)
    for index in range(levels.components):
        change = weights * (places.take(decoded[index]) - places.take(moved[index]))
        moved[index] = _move(moved[index], places, change, levels.peak)
    return tuple(moved)


def sample_planes(evidence: Evidence) -> list[Floats]:
    """Fetch the neighbours' samples of all planes but alpha, `[neighbours, places]` each."""
    levels = evidence.picture.levels
    shown = []
    for index in range(levels.components):
        if index == 0 and levels.family != "rgb":
            # Those that are not valid are infinite, and weigh nothing.
            samples = np.where(evidence.valid, evidence.samples, np.float32(0))
        else:
            places = evidence.places
            samples = np.stack([each.fetch(index, places) for each in evidence.neighbours])
        shown.append(samples)
    return shown


def find_colours(evidence: Evidence, shown: list[Floats]) -> Floats:
    """Return how the frame differs from its neighbours in colour, `[2, places]`: see `describe`.

    Args:
        evidence: of the frame.
        shown: the neighbours' samples, of `sample_planes`.
    """
    valid = evidence.valid / evidence.count.astype(np.float32)
    planes = evidence.picture.restored
    differences = [
        evidence.places.take(plane) - (valid * samples).sum(0)
        for plane, samples in zip(planes, shown, strict=False)
    ]
    return evidence.picture.levels.colour_of(differences)


def _share_out(evidence: Evidence, weights: Floats) -> Floats:
    """Give the weights of the slots to the neighbours whose samples they hold."""
    by_rank = np.zeros_like(evidence.sorted)
    every = np.arange(by_rank.shape[1])
    for slot, rank in enumerate(evidence.slots):
        by_rank[rank, every] += weights[2 + slot]
    by_neighbour: Floats = np.take_along_axis(by_rank, evidence.ranks, 0)
    return by_neighbour


def _move(plane: Plane, places: Places, change: Floats, peak: int) -> Plane:
    """Add changes at places of the luma to a plane."""
    own = places.scale((plane.shape[0], plane.shape[1])).flat
    area = (places.shape[0] * places.shape[1]) / plane.size
    if area > 1:
        sums = np.bincount(own, change, plane.size)
        own = np.flatnonzero(sums)
        change = (sums[own] / round(area)).astype(np.float32)
    moved: Any = plane.copy()
    target = plane.ravel()[own].astype(np.float32) + change
    moved.ravel()[own] = np.rint(target).clip(0, peak).astype(plane.dtype)
    result: Plane = moved
    return result
