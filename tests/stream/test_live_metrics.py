"""Metrics for Prometheus."""

from prometheus_client.parser import text_string_to_metric_families

from lfdn_video.stream.board import LATENCY_BOUNDS_S, Board
from lfdn_video.stream.watch.feed import Feed
from lfdn_video.stream.watch.metrics import Metrics
from tests.support.sessions import living_board

BUCKETS = len(LATENCY_BOUNDS_S) + 1


def samples(board: Board) -> dict[tuple[str, str], float]:
    """Every value by name and by the value of its label, "" if it has none."""
    content, _ = Metrics([Feed(board)]).render("text/plain")
    return {
        (sample.name.removeprefix("lfdn_video_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_counters_are_the_counts_of_the_status() -> None:
    seen = samples(living_board(frames_in=9, frames_out=4, frames_dropped=3, reconnects=2))
    names = ("frames_in", "frames_out", "frames_dropped", "reconnects")
    assert [seen[f"{name}_total", ""] for name in names] == [9, 4, 3, 2]


def test_latency_buckets_are_cumulative() -> None:
    counts = (1, 2, *([0] * (BUCKETS - 3)), 4)
    seen = samples(living_board(latency_counts=counts, latency_sum_s=45.5))
    assert seen["latency_seconds_bucket", "0.1"] == 3
    assert seen["latency_seconds_bucket", "+Inf"] == seen["latency_seconds_count", ""] == 7
    assert seen["latency_seconds_sum", ""] == 45.5


def test_picture_that_is_too_small_is_a_metric() -> None:
    seen = samples(living_board(too_small=True, prefer="quality", cpu_load=0.5))
    assert (seen["too_small", ""], seen["prefers_quality", ""], seen["cpu_load", ""]) == (1, 1, 0.5)
    assert ("gpu_load", "") not in seen


def test_stages_have_their_seconds() -> None:
    seen = samples(living_board(stage_s={"decode": 1.5, "model": 7.0}))
    assert (seen["stage_seconds_total", "decode"], seen["stage_seconds_total", "model"]) == (1.5, 7)


def test_exactly_one_state_is_set() -> None:
    seen = samples(living_board(state="reconnecting"))
    states = {label: value for (name, label), value in seen.items() if name == "state"}
    assert [state for state, value in states.items() if value] == ["reconnecting"]


def test_live_source_without_a_frame_is_stalled() -> None:
    assert samples(living_board())["state", "stalled"] == 1


def test_quotes_and_newlines_in_a_source_are_escaped() -> None:
    seen = samples(living_board(source='a "quoted"\nname\\'))
    assert any(name == "info" and 'a "quoted"\nname\\' in label for name, label in seen)


def test_openmetrics_is_served_on_request() -> None:
    content, content_type = Metrics([Feed(living_board())]).render("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
