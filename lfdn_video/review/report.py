"""The report of a run: one HTML file that needs nothing else, neither files nor a network.

`survey.py` reads the videos, `pictures.py` and `plots.py` draw; here it is put into the page, whose
template, style and script are in `page/`.
"""

from __future__ import annotations

import platform
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lfdn_video.checks import Check
from lfdn_video.errors import OptionError
from lfdn_video.files import Inputs, check_target, try_target, write_beside
from lfdn_video.media import VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.pipeline import Summary
from lfdn_video.review.pairs import OnFrame
from lfdn_video.review.pictures import Album, make_album
from lfdn_video.review.plots import Line, Plot, format_time
from lfdn_video.review.survey import TOUCHED_CODES, Survey, survey

EXTRA = {"jinja2": "Jinja2", "matplotlib": "matplotlib"}
"""Modules of the extra `[report]`, and what they are called."""

PAGE = Path(__file__).with_name("page")
PACKAGES = ("lfdn-video", "torch", "av", "numpy", "opencv-python")
TASKS = {"derain": "Rain removed from", "deblur": "Motion blur reduced in"}
STATES = {"ok": "OK", "warning": "Note", "failed": "Failed"}
SHOWN_VALUES = 24
"""Rows of the table beside a plot, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What only the run itself knows; a report without it leaves these parts out."""

    task: str = ""
    """`derain` or `deblur`; empty: unknown."""
    command: str = ""
    """The command line that repeats it."""
    summary: Summary | None = None
    """What `restore` returned."""
    checks: Sequence[Check] = field(default_factory=tuple)
    """What `verify` found."""


def check_report(target: Path, inputs: Inputs, *, overwrite: bool) -> None:
    """Check before the work that a report can be made.

    Args:
        target: the HTML file to write.
        inputs: files that are never replaced.
        overwrite: a file that exists may be replaced.

    Raises:
        OptionError: the extra `[report]` is not installed.
        OutputError: the file cannot be written, exists, or is an input.
    """
    missing = [name for module, name in EXTRA.items() if find_spec(module) is None]
    if missing:
        raise OptionError(
            f"the report needs {' and '.join(missing)}; run pip install 'lfdn-video[report]'"
        )
    check_target(target, inputs, overwrite=overwrite)
    try_target(target)


def write_report(
    source: str | Path,
    result: str | Path,
    target: str | Path,
    *,
    reference: str | Path | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    at_s: Sequence[float] = (),
    overwrite: bool = False,
    run: RunFacts | None = None,
    on_frame: OnFrame | None = None,
) -> int:
    """Write a report about a result as one HTML file.

    Args:
        source: the source of the run: a video, or images.
        result: what the run wrote.
        target: the HTML file to write.
        reference: the same frames without rain or blur; None: there is none.
        span: the part of the source that was restored; None: all of it.
        deinterlace: the source was deinterlaced.
        at_s: times of frames to show besides those chosen, in seconds from the first frame.
        overwrite: replace a file that exists.
        run: what is known of the run; None: nothing.
        on_frame: called after each frame, as by `compare`.

    Returns:
        Size of the file in bytes.

    Raises:
        InputError: a file cannot be read, or they have no frame in common.
        OptionError: the extra `[report]` is not installed.
        OutputError: the file cannot be written.
    """
    target = Path(target)
    files = [Path(each) for each in (source, result, reference) if each is not None]
    check_report(target, Inputs(files), overwrite=overwrite)
    found = survey(
        source,
        result,
        reference=reference,
        span=span,
        deinterlace=deinterlace,
        at_s=at_s,
        on_frame=on_frame,
    )
    page = _render(found, run or RunFacts(), reference is not None)
    content = page.encode("utf-8", "backslashreplace")  # names need not be UTF-8
    with write_beside(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _render(found: Survey, run: RunFacts, has_reference: bool) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (PAGE / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    album = make_album(found.shots)
    plots = list(_plots(found, has_reference))
    return environment.get_template("report.html").render(
        style=(PAGE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=b64encode(sha256(script.encode()).digest()).decode(),
        name=found.after.path.name,
        source_name=found.before.path.name,
        did=TASKS.get(run.task, "Compared with"),
        facts=_facts(found),
        tiles=list(_tiles(found, run, plots)),
        shots=list(_shots(found, album)),
        album=album,
        aspect=_aspect(found),
        width=found.size[0],
        plots=[_show_plot(plot) for plot in plots],
        samples=len(found.samples),
        frames=len(found.change),
        has_reference=has_reference,
        ledger=list(_ledger(found, run)),
        warnings=_warnings(found, run),
        checks=[(each.name, each.state, STATES[each.state], each.text) for each in run.checks],
        stages=list(_stages(run)),
        provenance=list(_provenance(found, run)),
        command=run.command,
    )


def _aspect(found: Survey) -> str:
    """Width over height of the picture as it is shown, for CSS."""
    info = found.before
    pixel = info.sample_aspect_ratio or 1
    width, height = found.size
    return f"{float(width * (1 / pixel if info.rotation % 180 else pixel)) / height:.5f}"


def _facts(found: Survey) -> list[str]:
    info = found.before
    width, height = found.size
    facts = [f"{width}×{height}", _count(len(found.change), "frame")]
    if info.average_rate and not info.from_images:
        facts.insert(1, f"{float(info.average_rate):.4g} fps")
        facts.append(format_time(found.times_s[-1] + float(1 / info.average_rate)))
    return facts


def _tiles(found: Survey, run: RunFacts, plots: Iterable[Plot]) -> Iterator[dict[str, str]]:
    """The figures at the top of the page."""
    by_title = {plot.title: plot for plot in plots}
    touched = 100 * float(np.mean(found.touched))
    yield {
        "name": "Change",
        "value": f"{float(np.mean(found.change)):.2f}",
        "unit": "of 255",
        "note": f"mean of the luma; {touched:.0f} % of the px by more than {TOUCHED_CODES:.0f}",
    }
    for title, unit, note in (
        ("PSNR-Y", "dB", "against the reference, source → result"),
        ("SSIM-Y", "", "against the reference, source → result"),
        ("Rain left", "%", "of what is brighter than the reference in the source"),
        ("Flicker", "of 255", "source → result, along the motion"),
    ):
        if title in by_title:
            yield {"name": title, "value": by_title[title].means, "unit": unit, "note": note}
    if run.summary is not None and run.summary.seconds > 0:
        restored = run.summary.frames - run.summary.kept_frames
        yield {
            "name": "Speed",
            "value": f"{restored / run.summary.seconds:.3g}",
            "unit": "fps",
            "note": f"{_count(restored, 'frame')} in {format_time(run.summary.seconds)}",
        }
    if run.checks:
        failed = sum(check.state == "failed" for check in run.checks)
        noted = sum(check.state == "warning" for check in run.checks)
        yield {
            "name": "Audit",
            "value": f"{failed} failed" if failed else "Complete",
            "unit": "",
            "note": f"{_count(len(run.checks), 'check')}" + (f", {noted} to note" * bool(noted)),
        }


def _shots(found: Survey, album: Album) -> Iterator[dict[str, Any]]:
    first = max(found.shots, key=lambda shot: (shot.why == "asked for", shot.change))
    for number, (shot, pictures) in enumerate(zip(found.shots, album.shots, strict=True)):
        yield {
            "number": number,
            "time": format_time(shot.time_s),
            "frame": shot.pair.number,
            "change": f"{shot.change:.2f}",
            "why": shot.why,
            "first": shot is first,
            "pictures": pictures,
        }


def _plots(found: Survey, has_reference: bool) -> Iterator[Plot]:
    times = found.times_s
    if len(times) > 1:
        yield Plot("Change", "of 255", times, (Line("result", found.change),), 2, "every frame")
        share = [100 * each for each in found.touched]
        note = f"px whose luma changed by more than {TOUCHED_CODES:.0f}; every frame"
        yield Plot("Area changed", "% of the picture", times, (Line("result", share),), 1, note)
    kinds = [("Flicker", "of 255", "flicker", 2, True)]
    if has_reference:
        kinds += [("PSNR-Y", "dB", "psnr", 2, False), ("SSIM-Y", "up to 1", "ssim", 3, False)]
    for title, unit, name, decimals, from_zero in kinds:
        columns = [(f"{name}_before", "source"), (f"{name}_after", "result")]
        if plot := _sampled(found, title, unit, columns, decimals=decimals, from_zero=from_zero):
            yield plot
    if has_reference and (
        plot := _sampled(found, "Rain left", "% of the source's", [("rain_left", "result")], 100)
    ):
        yield plot


def _sampled(
    found: Survey,
    title: str,
    unit: str,
    columns: Sequence[tuple[str, str]],
    factor: float = 1,
    *,
    decimals: int = 1,
    from_zero: bool = True,
) -> Plot | None:
    """Make a plot of what was measured on some frames; None: on none. PSNR may be infinite."""
    rows = [
        (sample.time_s, values)
        for sample in found.samples
        if None not in (values := [getattr(sample, name) for name, _ in columns])
        and np.isfinite(values).all()
    ]
    if not rows:
        return None
    times = [time_s for time_s, _ in rows]
    lines = tuple(
        Line(line, [factor * values[at] for _, values in rows])
        for at, (_, line) in enumerate(columns)
    )
    note = f"{len(rows)} of {len(found.change)} frames"
    return Plot(title, unit, times, lines, decimals, note, from_zero)


def _show_plot(plot: Plot) -> dict[str, Any]:
    step = -(-len(plot.times_s) // SHOWN_VALUES)
    rows = [
        [
            format_time(plot.times_s[at]),
            *(f"{line.values[at]:.{plot.decimals}f}" for line in plot.lines),
        ]
        for at in range(0, len(plot.times_s), step)
    ]
    return {
        "title": plot.title,
        "unit": plot.unit,
        "note": plot.note,
        "means": plot.means,
        "summary": plot.summary,
        "names": [line.name for line in plot.lines],
        "rows": rows,
        "svg": plot.draw(),
    }


def _ledger(found: Survey, run: RunFacts) -> Iterator[tuple[str, str]]:
    """Account for every frame."""
    paired = len(found.change)
    reader = found.readers[0]
    yield "Frames of the source", str(paired + found.unpaired_before)
    yield "Frames of the result", str(paired + found.unpaired_after)
    yield "Frames in both, at the same time", str(paired)
    yield "Corrupt packets in the source", str(reader.corrupt_packets)
    yield "Frames repeated in place of corrupt ones", str(reader.repeated_frames)
    summary = run.summary
    dropped = summary.dropped_frames if summary is not None else reader.dropped_frames
    for reason, count in dropped.items():
        yield f"Frames missing: {reason}", str(count)
    if summary is not None and summary.kept_frames:
        yield "Frames kept from an interrupted run", str(summary.kept_frames)
    if summary is not None and summary.temporal is not None:
        yield "Frames changed by their neighbours", str(summary.temporal.frames)
        yield "Frames in which texture was given back", str(summary.temporal.given_back)
        for reason, count in summary.temporal.left.items():
            yield f"Frames left by that stage: {reason}", str(count)


def _warnings(found: Survey, run: RunFacts) -> list[str]:
    warnings = [*found.readers[0].warnings, *found.readers[1].warnings]
    if run.summary is not None:
        warnings = [*run.summary.warnings, *warnings]
    return list(dict.fromkeys(warnings))


def _stages(run: RunFacts) -> Iterator[dict[str, str]]:
    if run.summary is None:
        return
    longest = max(times.busy_s for times in run.summary.stages.values()) or 1.0
    for name, times in run.summary.stages.items():
        yield {
            "name": name,
            "busy": format_time(times.busy_s),
            "share": f"{100 * times.busy_s / (run.summary.seconds or 1):.0f} %",
            "bar": f"{100 * times.busy_s / longest:.1f}",
        }


def _provenance(found: Survey, run: RunFacts) -> Iterator[tuple[str, str]]:
    for name, info in (("Source", found.before), ("Result", found.after)):
        yield name, _describe(info)
    network: Mapping[str, str] = run.summary.network if run.summary is not None else {}
    if network.get("model"):
        yield "Weights", f"digest {network['model']}, as in the header of their file"
    if network.get("precision"):
        yield "Precision", network["precision"]
    if network.get("tile"):
        yield "Tiles", f"{network['tile']}, overlap {network.get('overlap', '?')} px"
    if not network:
        yield "Weights", "unknown: a file does not say by which weights it was made"
    yield "Versions", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield (
        "System",
        (f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
    )


def _describe(info: VideoInfo) -> str:
    parts = [str(info.path), info.codec, info.source_format]
    if not info.from_images:
        parts.insert(1, info.container.partition(",")[0])
    if info.path.is_file():
        parts.append(f"{info.path.stat().st_size / 1e6:.1f} MB")
    return ", ".join(parts)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a source tree, or installed without metadata
        return "(unknown)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
