"""The gate's layers and the rule beside them, and paths joined over several frames."""

import itertools

import numpy as np

from lfdn_video.temporal.flow import Path, join, scale_flow
from lfdn_video.temporal.gate import CHOICES, ROWS, Gate
from lfdn_video.temporal.layers import load_gate


def make_layers(features: int, width: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    sizes = (features, width, CHOICES)
    layers = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layers[f"weight{number}"] = random.normal(size=(inputs, outputs)).astype(np.float32)
        layers[f"bias{number}"] = random.normal(size=outputs).astype(np.float32)
    return layers


def test_weights_of_a_place_sum_to_one_and_depend_on_it_alone() -> None:
    layers = make_layers(7)
    features = np.random.default_rng(4).normal(size=(ROWS + 3, 7)).astype(np.float32)
    weights = Gate(layers).weigh(features.T).T
    assert weights.shape == (ROWS + 3, CHOICES)
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    hidden = np.maximum(features @ layers["weight0"] + layers["bias0"], 0)
    scores = np.exp(hidden @ layers["weight1"] + layers["bias1"])
    assert np.allclose(weights, scores / scores.sum(1, keepdims=True), atol=1e-5)


def test_packaged_layers_are_shared() -> None:
    assert load_gate() is load_gate()


def test_joined_path_leads_over_the_frame_between() -> None:
    shape = (12, 16)
    trusted = np.full(shape, 255, np.uint8)
    first = Path(np.full((*shape, 2), (2, 1), np.float32), trusted)
    flow = np.zeros((*shape, 2), np.float32)
    flow[:, 8:] = (3, -1)
    hidden = trusted.copy()
    hidden[5, 10] = 0
    path = join(first, Path(flow, hidden))
    assert path.flow[3, 2].tolist() == [2, 1]
    assert path.flow[3, 9].tolist() == [5, 0]
    # What the frame between does not show of the second one does not count.
    assert path.valid[4, 8] == 0
    assert path.valid[3, 2] == 255


def test_flow_of_a_smaller_plane_is_in_its_own_pixels() -> None:
    flow = np.full((8, 12, 2), (4, 2), np.float32)
    assert scale_flow(flow, (4, 6))[2, 3].tolist() == [2, 1]
    assert scale_flow(flow, (16, 24))[2, 3].tolist() == [8, 4]
