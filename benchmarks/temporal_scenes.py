"""The temporal stage on drawn scenes: dry ones that look like rain to it, and rain of every kind.

    python -m benchmarks.temporal_scenes --background FILE --background FILE ...
    python -m benchmarks.temporal_scenes --only 'snow*' --camera still --sheets FOLDER
    python -m benchmarks.temporal_scenes --smoke

A `--background` is an image, a folder of images or a video. Images that do not count up are places
for a camera that is still or hand-held; of a video, or of numbered images, the first is, and with
`--camera filmed` all of them run behind what is drawn. The scenes are in `benchmarks/scenes/`; they
have sensor noise, 8 bit and 4:2:0, and no file between them, the network and the stage.

    dry       no rain: the truth is the source
    rain      rain of one kind, anew in each frame, a large thing crossing: the truth is the scene
              without rain, with the same noise; `noise-free` compares with the scene itself
    ball      a ball flies through rain: as `rain`

    PSNR-Y    mean over frames and the stage's worst frame, in dB; `least` is the stage's least gain
              over the network in a frame
    kept      share of the contrast of what was drawn (ball, flakes, letters) that is left in luma:
              the regression of a result less the bare place on the thing drawn; above 1 brighter
    rain left the same of the rain

A line for each scene goes to stderr, tables to stdout.
"""

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from benchmarks.scenes.catalogue import DRY, draw_dry, draw_rainy, list_balls
from benchmarks.scenes.frames import describe
from benchmarks.scenes.measure import Case, Network, Row, measure
from benchmarks.scenes.rain import BASE, list_kinds
from benchmarks.scenes.views import Backdrop, Camera
from benchmarks.temporal import images
from lfdn_video.inference.engine import load_engine
from lfdn_video.input.open import open_reader
from lfdn_video.options import InferenceOptions, Precision, SpanOptions

SAMPLE = Path(__file__).parent.parent / "samples" / "variable_rate.mp4"
SIZE = (360, 640)
RAIN_PLACES = 2
"""Each kind of rain falls before so many of the places."""

SMOKE_SIZE = (120, 176)
SMOKE_SCENES = ("ball, r 5 px, 18 px a frame", "H.264, CRF 32", "base", "ball in rain, r 5 px, 5 *")


def read_backdrops(sources: Sequence[Path], count: int) -> list[Backdrop]:
    """Read places: each image of a folder is one, a video or numbered images are one together."""
    backdrops = []
    for source in sources:
        with open_reader(source) as reader:
            together = reader.consecutive
            rate = float(reader.info.average_rate or 25)
        pictures = images(source, SpanOptions(end_s=count / rate) if together else None)
        if together:
            backdrops.append(Backdrop(source.stem, pictures[:count]))
        else:
            backdrops += [
                Backdrop(source.stem if len(pictures) == 1 else f"{source.name} {number}", [each])
                for number, each in enumerate(pictures)
            ]
    return backdrops


def list_cases(
    backdrops: Sequence[Backdrop],
    cameras: Sequence[Camera],
    *,
    size: tuple[int, int],
    count: int,
    seed: int,
) -> Iterator[Case]:
    """List all scenes: the dry ones before each camera in turn, rain before one that is still.

    Dry scenes take the places in turn; `filmed` needs one with as many pictures. Every rain falls
    before the same places, the first ones, so that its kinds can be compared.
    """
    about: dict[str, Any] = {"size": size, "count": count, "seed": seed}
    filmed = [backdrop for backdrop in backdrops if len(backdrop.pictures) >= count]
    number = 0
    for name, scene in DRY.items():
        for camera in cameras:
            places = filmed if camera == "filmed" else backdrops
            if not places:
                continue
            place = places[number % len(places)]
            number += 1
            yield Case(
                "dry",
                name,
                camera,
                place,
                lambda n=name, p=place, c=camera: draw_dry(n, p, c, **about),  # type: ignore[misc]
                scene.compressed,
                scene.adds_thing,
            )
    for place in backdrops[:RAIN_PLACES]:
        for name, kind in list_kinds().items():
            yield Case(
                "rain",
                name,
                "still",
                place,
                lambda k=kind, p=place: draw_rainy(k, p, "still", **about),  # type: ignore[misc]
                adds_thing=False,
            )
        for name, ball in list_balls().items():
            yield Case(
                "ball",
                name,
                "still",
                place,
                lambda b=ball, p=place: draw_rainy(BASE, p, "still", ball=b, **about),  # type: ignore[misc]
            )


def format_row(row: Row) -> str:
    """One line: input / network / stage where there are three figures."""
    psnr = row.psnr_y
    words = [
        f"{row.group}: {row.name}, {row.camera}, {row.background}:",
        f"PSNR-Y {psnr.input:.2f} / {psnr.network:.2f} / {psnr.stage:.2f}",
        f"(worst {row.worst_db:.2f}, least {row.least_gain_db:+.2f}),",
    ]
    if row.noise_free is not None:
        free = row.noise_free
        words.append(f"noise-free {free.input:.2f} / {free.network:.2f} / {free.stage:.2f},")
    if row.rain_left is not None:
        rain = row.rain_left
        words.append(f"rain left {rain.input:.2f} / {rain.network:.2f} / {rain.stage:.2f},")
    if row.kept is not None:
        words.append(f"kept {row.kept.input:.2f} / {row.kept.network:.2f} / {row.kept.stage:.2f},")
    words.append(f"changed {row.changed} of {row.frames} by {row.mean_change:.2f}, left {row.left}")
    return " ".join(words)


def format_tables(rows: Sequence[Row]) -> str:
    """Markdown tables: rain by kind and place, with the stage's PSNR-Y in bold; then all others."""
    rain = [row for row in rows if row.group == "rain"]
    others = [row for row in rows if row.group != "rain"]
    lines = []
    if rain:
        places = list(dict.fromkeys(row.background for row in rain))
        heads = [word for place in places for word in (place, "worst", "rain left")]
        lines += [f"| kind | {' | '.join(heads)} |", f"|{' --- |' * (1 + len(heads))}"]
        for name in dict.fromkeys(row.name for row in rain):
            cells = [name]
            for place in places:
                row = next(r for r in rain if (r.name, r.background) == (name, place))
                left, psnr = row.rain_left, row.psnr_y
                cells.append(f"{psnr.input:.1f} / {psnr.network:.1f} / **{psnr.stage:.1f}**")
                cells.append(f"{row.worst_db:.1f}")
                cells.append("" if left is None else f"{left.network:.2f} → {left.stage:.2f}")
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    if others:
        lines += ["| scene | camera | changed | mean, worst | kept |", f"|{' --- |' * 5}"]
    for row in others:
        kept = row.kept
        shares = "" if kept is None else f"{kept.input:.2f} / {kept.network:.2f} / {kept.stage:.2f}"
        lines.append(
            f"| {row.name} | {row.camera}, {row.background} | {row.changed} of {row.frames} "
            f"| {row.psnr_y.network:.1f} → {row.psnr_y.stage:.1f}, {row.worst_db:.1f} | {shares} |"
        )
    return "\n".join(lines)


@click.command()
@click.option(
    "--background", type=click.Path(path_type=Path, exists=True), multiple=True, default=(SAMPLE,)
)
@click.option("--only", multiple=True, help="Scenes by their names; * and ? stand for others.")
@click.option("--camera", type=click.Choice(get_args(Camera)), multiple=True)
@click.option("--frames", type=int, default=16, show_default=True, help="Of each scene.")
@click.option("--size", type=(int, int), default=SIZE[::-1], show_default=True, help="Even sides.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--precision", type=click.Choice(get_args(Precision)), default="auto")
@click.option("--weights", type=click.Path(path_type=Path, exists=True))
@click.option("--cache", type=click.Path(path_type=Path), help="Keep what the network makes here.")
@click.option("--sheets", type=click.Path(path_type=Path), help="Write a contact sheet of each.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--smoke", is_flag=True, help="A few small scenes, to see that it runs.")
def main(
    background: Sequence[Path],
    only: Sequence[str],
    camera: Sequence[Camera],
    frames: int,
    size: tuple[int, int],
    seed: int,
    precision: Precision,
    weights: Path | None,
    cache: Path | None,
    sheets: Path | None,
    json_path: Path | None,
    smoke: bool,
) -> None:
    """Measure the temporal stage on drawn scenes."""
    shape = (size[1], size[0])
    if smoke:
        only, camera, frames, shape = SMOKE_SCENES, ("hand-held",), 6, SMOKE_SIZE
    if shape[0] % 2 or shape[1] % 2:
        raise click.BadParameter(f"{size[0]} {size[1]}: sides must be even", param_hint="--size")
    for folder in (cache, sheets):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    backdrops = read_backdrops(background, frames)
    cameras = camera or ("still", "hand-held")
    if "filmed" in cameras and all(len(each.pictures) < frames for each in backdrops):
        raise click.UsageError(
            f"--camera filmed: no background has {frames} frames; give a video or numbered images"
        )
    cases = [
        case
        for case in list_cases(backdrops, cameras, size=shape, count=frames, seed=seed)
        if not only or any(fnmatch.fnmatchcase(case.name, pattern) for pattern in only)
    ]
    if not cases:
        raise click.UsageError(f"--only: no scene is called {' or '.join(only)}")
    info = describe(shape)
    rows = []
    with load_engine(
        "derain", weights=weights, options=InferenceOptions(precision=precision)
    ) as engine:
        network = Network(engine, info, cache)
        for case in cases:
            rows.append(measure(case, network, info, sheets))
            click.echo(format_row(rows[-1]), err=True)
            if json_path is not None:
                json_path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    click.echo(format_tables(rows))


if __name__ == "__main__":
    main()
