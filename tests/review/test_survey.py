"""The pass over both videos: series, samples, and which frames are shown."""

from pathlib import Path

import numpy as np
import pytest

from lfdn_video.errors import InputError
from lfdn_video.review import survey as module
from lfdn_video.review.survey import survey
from tests.support import drawn


def brightened(at: dict[int, int], count: int = 40) -> tuple[list[drawn.Grey], list[drawn.Grey]]:
    """A still source, and a result that differs at some frames by so much."""
    frames = drawn.still(count)
    changed = [(frame + at.get(n, 0)).astype(np.uint8) for n, frame in enumerate(frames)]
    return frames, changed


def written(tmp_path: Path, *clips: list[drawn.Grey]) -> list[Path]:
    return [drawn.write(tmp_path / f"{n}.mkv", frames) for n, frames in enumerate(clips)]


def test_every_frame_is_compared(tmp_path: Path) -> None:
    found = survey(*written(tmp_path, *brightened({3: 8, 5: 3}, 6)))
    assert list(found.change) == pytest.approx([0, 0, 0, 8, 0, 3], abs=1e-4)
    assert list(found.touched) == [0, 0, 0, 1, 0, 0]  # 3 codes are below the threshold
    assert list(found.times_s) == pytest.approx([0.04 * number for number in range(6)])


def test_most_changed_frames_are_shown_and_named(tmp_path: Path) -> None:
    found = survey(*written(tmp_path, *brightened({7: 4, 8: 9, 33: 6})))
    why = {shot.pair.number: shot.why for shot in found.shots if shot.why}
    assert (why[8], why[33]) == ("most changed", "much changed")
    assert 7 not in why  # it is too close to 8


def test_other_shots_are_spread_evenly(tmp_path: Path) -> None:
    found = survey(*written(tmp_path, *brightened({})))
    numbers = [shot.pair.number for shot in found.shots if not shot.why]
    gaps = np.diff(numbers)
    assert numbers == sorted(set(numbers))
    assert gaps.max() <= 2 * gaps.min()
    assert numbers[-1] >= 30


def test_frames_asked_for_are_shown(tmp_path: Path) -> None:
    found = survey(*written(tmp_path, *brightened({})), at_s=[0.9, 0.1])
    asked = [shot for shot in found.shots if shot.why == "asked for"]
    assert [shot.time_s for shot in asked] == pytest.approx([0.12, 0.92])


def test_samples_are_few_and_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 4)
    found = survey(*written(tmp_path, *brightened({})))
    assert 3 <= len(found.samples) <= 4
    assert np.diff([sample.time_s for sample in found.samples]).std() < 1e-6


def test_rain_left_is_a_share_of_that_in_the_source(tmp_path: Path) -> None:
    clean = drawn.still(5)
    rainy, restored = ([(frame + by).astype(np.uint8) for frame in clean] for by in (20, 5))
    source, result, reference = written(tmp_path, rainy, restored, clean)
    found = survey(source, result, reference=reference)
    for sample in found.samples:
        assert sample.rain_left == pytest.approx(0.25, abs=1e-3)
        assert sample.psnr_after == pytest.approx((sample.psnr_before or 0) + 12.04, abs=0.1)
    assert survey(source, result).samples[0].rain_left is None


def test_reference_is_matched_by_time(tmp_path: Path) -> None:
    """The second frame of the reference is missing: times say which frame is which."""
    frames = [np.full((32, 32), 40 + 10 * number, np.uint8) for number in range(5)]
    source = drawn.write(tmp_path / "a.mkv", frames)
    sparse = drawn.write(tmp_path / "c.mkv", [frames[0], *frames[2:]], [0, 80, 120, 160])
    found = survey(source, source, reference=sparse)
    psnr = [sample.psnr_after for sample in found.samples]
    assert [value for value in psnr if value is not None] == [float("inf")] * 4
    assert psnr[1] is None


def test_reference_of_another_video_is_refused(tmp_path: Path) -> None:
    source = drawn.write(tmp_path / "a.mkv", drawn.still(5))
    small = drawn.write(tmp_path / "small.mkv", [np.zeros((32, 32), np.uint8)] * 5)
    with pytest.raises(InputError, match=r"small\.mkv: is 32×32, not 128×96"):
        survey(source, source, reference=small)
    long = drawn.write(tmp_path / "long.mkv", drawn.still(50))
    later = drawn.write(tmp_path / "later.mkv", drawn.still(2), [0, 9000])
    with pytest.raises(InputError, match=r"later\.mkv: has no frame at a time of"):
        survey(long, long, reference=later)


def test_large_frames_are_averaged_for_the_flow() -> None:
    flat = np.full((1000, 1920, 3), 77, np.uint8)
    assert module._shrink(flat).shape == (500, 960, 3)
    assert (module._shrink(flat) == 77).all()
