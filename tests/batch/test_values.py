"""Values of a batch."""

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

from lfdn_video.batch.values import BatchOptions, ClusterOptions, Recipe
from lfdn_video.errors import OptionError
from lfdn_video.options import EncodeOptions, InferenceOptions, SpanOptions
from lfdn_video.pipeline import restore


def test_recipe_has_the_defaults_of_a_single_run() -> None:
    defaults = {
        name: each.default
        for name, each in inspect.signature(restore).parameters.items()
        if name in {each.name for each in fields(Recipe)}
    }
    made = {"inference": InferenceOptions(), "encode": EncodeOptions(), "span": SpanOptions()}
    assert defaults.keys() == {each.name for each in fields(Recipe)}
    for name, default in defaults.items():
        assert getattr(Recipe(), name) == made.get(name, default)


def test_recipe_describes_what_targets_depend_on() -> None:
    described = Recipe().describe("digest")
    assert described["weights"] == "digest"
    assert described.keys() >= {"task", "crf", "codec", "start", "temporal", "precision"}
    assert described.keys() & {"overwrite", "resume", "device"} == set()
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize("values", [{"jobs": 0}, {"jobs": 65}, {"jobs": "all"}, {"settle_s": -1}])
def test_values_outside_their_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        BatchOptions(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"address": ""}, "the address is empty"),
        ({"address": "auto", "cpus": 0}, "task cpus: must be at least 1"),
        ({"address": "auto", "gpus": -0.5}, "task gpus: must be from 0 to 1"),
        ({"address": "auto", "gpus": 1.5}, "or a whole number, got 1.5"),
        ({"address": "auto", "retries": -1}, "retries: must not be negative"),
        ({"address": "local", "gpus": 0.5}, "are for a Ray cluster"),
    ],
)
def test_cluster_that_cannot_work_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        ClusterOptions(**values)


def test_number_of_jobs_is_the_clusters_own() -> None:
    BatchOptions(jobs=2, cluster=ClusterOptions(address="local"))
    with pytest.raises(OptionError, match="jobs: the cluster decides"):
        BatchOptions(jobs=2, cluster=ClusterOptions(address="auto"))
