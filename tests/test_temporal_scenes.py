"""The drawn scenes of benchmarks/temporal_scenes.py are repeatable and hold what they say."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.scenes.catalogue import DRY, draw_dry, draw_rainy, list_balls
from benchmarks.scenes.frames import compress, describe, to_frames, to_luma
from benchmarks.scenes.measure import Case, Network, kept_share, measure
from benchmarks.scenes.rain import BASE, NONE, RainKind, _draw_streak, draw_rain, list_kinds
from benchmarks.scenes.views import Backdrop, Picture, Views, look
from benchmarks.temporal_scenes import list_cases, main, read_backdrops
from lfdn_video.inference.engine import Engine
from tests.support.fakes import identity_engine

SIZE = (96, 128)
COUNT = 6


@pytest.fixture(scope="module")
def place() -> Backdrop:
    """Smooth texture of middle brightness, filmed in a pan."""
    noise = np.random.default_rng(1).normal(size=(160, 240, 3)).astype(np.float32)
    image = (110 + 250 * cv2.GaussianBlur(noise, (0, 0), 3)).clip(30, 200).astype(np.uint8)
    return Backdrop("texture", [image[:, step : step + 200] for step in range(COUNT)])


def grey(value: float) -> Picture:
    return np.full((200, 300, 3), value, np.float32)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def changed_share(pictures: list[Picture], bare: list[Picture]) -> float:
    """Pixels that a thing changes by more than noise could."""
    return float(np.mean([np.abs(a - b).max(2) > 8 for a, b in zip(pictures, bare, strict=True)]))


@pytest.mark.parametrize("name", DRY)
def test_dry_scene_is_the_same_for_the_same_seed(name: str, place: Backdrop) -> None:
    one, same, other = (
        draw_dry(name, place, "hand-held", size=SIZE, count=COUNT, seed=seed) for seed in (1, 1, 2)
    )
    assert len(one.pictures) == COUNT
    for a, b in zip(one.pictures, same.pictures, strict=True):
        assert a.shape == (*SIZE, 3)
        assert a.dtype == np.float32
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
    assert (one.pictures[0] != other.pictures[0]).any()


@pytest.mark.parametrize("name", [name for name, scene in DRY.items() if scene.adds_thing])
def test_thing_is_drawn_over_a_part_of_the_picture(name: str, place: Backdrop) -> None:
    drawn = draw_dry(name, place, "still", size=SIZE, count=COUNT, seed=1)
    assert 0.001 < changed_share(drawn.pictures, drawn.bare) < 0.9


RAINS = {name: kind for name, kind in list_kinds().items() if kind != NONE}


@pytest.mark.parametrize("kind", RAINS.values(), ids=RAINS)
def test_rain_only_brightens_and_differs_from_frame_to_frame(kind: RainKind) -> None:
    random, dry = rng(), grey(80)
    one, other = draw_rain(dry, kind, random), draw_rain(dry, kind, random)
    assert (one >= dry).all()
    assert one.max() > 80 + 255 * kind.contrast * 0.3
    assert (one != other).any()
    np.testing.assert_array_equal(one, draw_rain(dry, kind, rng()))


def test_no_rain_is_no_rain() -> None:
    np.testing.assert_array_equal(draw_rain(grey(80), NONE, rng()), grey(80))


@pytest.mark.parametrize("coverage", [0.008, 0.03, 0.1])
def test_rain_covers_what_it_says(coverage: float) -> None:
    # The mean of a Gaussian profile over its sigma * sqrt(2 pi) is 1; of the streaks' strength .75.
    kind = RainKind(coverage=coverage, contrast=0.2)
    means = [draw_rain(grey(0), kind, rng(seed)).mean() for seed in range(8)]
    assert np.mean(means) / (255 * 0.2 * 0.75) == pytest.approx(coverage, rel=0.15)


@pytest.mark.parametrize("kind", RAINS.values(), ids=RAINS)
def test_streak_has_the_slant_and_the_size_that_it_says(kind: RainKind) -> None:
    streak = _draw_streak(kind)
    assert streak.sum() == pytest.approx(
        kind.length_px * kind.sigma_px * np.sqrt(2 * np.pi), rel=0.08
    )
    if kind.length_px > 4 * kind.sigma_px:
        middle = len(streak) // 2
        y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
        xx, xy, yy = ((streak * each).sum() for each in (x * x, x * y, y * y))
        slant = np.degrees(np.arctan2(2 * xy, yy - xx)) / 2
        assert slant == pytest.approx(kind.slant_deg, abs=0.5)


def test_rainy_scene_differs_from_its_truth_by_the_rain_alone(place: Backdrop) -> None:
    drawn = draw_rainy(BASE, place, "still", size=SIZE, count=COUNT, seed=1)
    assert drawn.truth is not None
    assert drawn.noise_free is not None
    for rainy, truth, free in zip(drawn.pictures, drawn.truth, drawn.noise_free, strict=True):
        assert (rainy >= truth - 1e-3).all()
        assert np.std(truth - free) == pytest.approx(1, rel=0.05)


def test_still_camera_shows_one_view_and_a_hand_held_one_moves_by_fractions(
    place: Backdrop,
) -> None:
    still = look(place, "still", size=SIZE, count=COUNT, random=rng())
    assert all(np.array_equal(view, still.pictures[0]) for view in still.pictures)
    moved = look(place, "hand-held", size=SIZE, count=40, random=rng())
    steps = np.diff(moved.shifts, axis=0)
    assert np.hypot(*steps.T).max() < 3
    assert np.hypot(*steps.T).min() > 0


def test_hand_held_camera_sees_what_is_fixed_at_its_place_less_the_shift() -> None:
    y, x = np.mgrid[:160, :240]
    ramps = np.stack([x, y, x], 2).astype(np.uint8)
    views = look(Backdrop("ramps", [ramps]), "hand-held", size=SIZE, count=20, random=rng())
    first, shift = views.pictures[0].mean((0, 1)), np.array(views.shifts[0])
    slope = np.gradient(views.pictures[0][..., 0], axis=1).mean()
    for picture, other in zip(views.pictures, views.shifts, strict=True):
        seen = (picture.mean((0, 1)) - first)[:2] / slope
        np.testing.assert_allclose(seen, np.array(other) - shift, atol=0.1)


def test_filmed_place_has_no_more_views_than_pictures(place: Backdrop) -> None:
    views = look(place, "filmed", size=SIZE, count=COUNT + 3, random=rng())
    assert len(views.pictures) == COUNT
    assert views.size == SIZE


def test_frames_hold_the_luma_of_their_pictures(place: Backdrop) -> None:
    picture = look(place, "still", size=SIZE, count=1, random=rng()).pictures[0]
    (frame,) = to_frames([picture])
    assert np.abs(frame.planes[0] - to_luma(picture)).max() <= 0.5
    assert to_luma(grey(255)).max() == pytest.approx(235)
    (white,) = to_frames([grey(255)])
    assert [int(plane.max()) for plane in white.planes] == [235, 128, 128]


def test_compressed_frames_are_as_many_and_nearly_the_same(place: Backdrop) -> None:
    frames = to_frames(look(place, "still", size=SIZE, count=COUNT, random=rng()).pictures)
    decoded = compress(frames)
    assert [frame.pts for frame in decoded] == list(range(COUNT))
    assert 0 < np.abs(decoded[0].planes[0].astype(int) - frames[0].planes[0]).mean() < 5


def test_rain_may_fall_in_a_part_of_the_picture() -> None:
    added = draw_rain(grey(60), RainKind(coverage=0.1, part=1 / 3), rng()) - grey(60)
    assert added[:, :100].mean() > 1
    assert not added[:, 100:].any()


def test_kept_share_tells_how_much_of_a_thing_is_left() -> None:
    bare = [to_luma(grey(60))]
    thing = [np.zeros_like(bare[0])]
    thing[0][50:60, 50:60] = 100
    halved = grey(60)
    halved[50:60, 50:60] += 100 * 255 / 219 / 2
    share = kept_share(to_frames([halved]), thing, bare)
    assert share == pytest.approx(0.5, abs=0.01)
    assert kept_share(to_frames([halved]), [np.zeros_like(bare[0])], bare) is None


def test_dry_scene_is_compared_with_the_network_alone(place: Backdrop, tmp_path: Path) -> None:
    name = "noise, sigma 2, night"
    case = Case(
        "dry",
        name,
        "still",
        place,
        lambda: draw_dry(name, place, "still", size=SIZE, count=COUNT, seed=1),
        adds_thing=False,
    )
    with identity_engine() as engine:
        row = measure(case, Network(engine, describe(SIZE), None), describe(SIZE), tmp_path)
    assert (row.psnr_y.input, row.psnr_y.network) == (100, 100)
    assert (row.noise_free, row.kept) == (None, None)
    assert row.changed + sum(row.left.values()) == COUNT
    (sheet,) = tmp_path.iterdir()
    with Image.open(sheet) as image:
        assert image.width > 4 * SIZE[1]


def test_rain_is_compared_with_the_scene_without_it(place: Backdrop) -> None:
    (ball,) = [each for each in list_balls().values() if each == (5, 15)]
    case = Case(
        "ball",
        "ball",
        "still",
        place,
        lambda: draw_rainy(BASE, place, "still", size=SIZE, count=COUNT, seed=1, ball=ball),
    )
    with identity_engine() as engine:
        row = measure(case, Network(engine, describe(SIZE), None), describe(SIZE), None)
    assert row.psnr_y.input == row.psnr_y.network < 40
    assert row.noise_free is not None
    assert row.kept is not None
    assert row.kept.input == pytest.approx(1, abs=0.1)
    assert row.rain_left is not None
    assert row.rain_left.network == pytest.approx(1, abs=0.02)


def test_network_runs_once_on_frames_that_are_kept(place: Backdrop, tmp_path: Path) -> None:
    frames = to_frames(look(place, "still", size=SIZE, count=2, random=rng()).pictures)
    with identity_engine() as engine:
        first = Network(engine, describe(SIZE), tmp_path).restore(frames)

    def fail(batch: object) -> None:
        raise AssertionError("the network ran again")

    with Engine(fail) as engine:  # type: ignore[arg-type]
        again = Network(engine, describe(SIZE), tmp_path).restore(frames)
    for one, other in zip(first, again, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_cases_have_names_of_their_own(place: Backdrop) -> None:
    cases = list(list_cases([place], ("still", "filmed"), size=SIZE, count=COUNT, seed=1))
    keys = {(case.group, case.name, case.camera) for case in cases}
    assert len(keys) == len(cases) == 2 * len(DRY) + len(list_kinds()) + len(list_balls())


def test_unnumbered_images_are_places_and_numbered_ones_are_one(tmp_path: Path) -> None:
    for folder, names in (("places", ("a", "b")), ("film", ("1", "2"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(grey(90).astype(np.uint8)).save(tmp_path / folder / f"{name}.png")
    places = read_backdrops([tmp_path / "places"], 4)
    assert [len(each.pictures) for each in places] == [1, 1]
    (film,) = read_backdrops([tmp_path / "film"], 4)
    assert len(film.pictures) == 2


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    noisy = Views([grey(100)] * 2, [(0, 0)] * 2).with_noise(5, rng())
    assert np.std(noisy.pictures[0]) == pytest.approx(5, rel=0.02)
    assert (noisy.pictures[0] != noisy.pictures[1]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "sleet"], "no scene is called sleet"),
        (["--camera", "filmed", "--frames", "61"], "no background has 61 frames"),
        (["--size", "641", "360"], "sides must be even"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output
