"""`lfdn train`: what it tells, what it leaves, and `--resume`."""

import csv
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from lfdn import LFDN, LFDNConfig
from lfdn.cli import main
from lfdn.commands import progress
from lfdn.commands.summary import format_clock, format_duration
from lfdn.datasets.crops import CropStage
from lfdn.training.checkpoint import TrainingState
from lfdn.training.recipe import TrainOptions
from lfdn.training.summary import RunSummary
from lfdn.weights import save_weights
from tests.support import datasets

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set of each kind and weights to start from; work is done in it."""
    datasets.make_rain800(tmp_path / "pairs", 4)
    datasets.make_clean(tmp_path / "clean", 4)
    save_weights(LFDN(SMALL), tmp_path / "small.safetensors", task="derain")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = (
    "train", "--data", "rain800=pairs", "--data", "clean=clean", "--init", "small.safetensors",
    "-o", "run", "--stages", "1:16x2", "--log-every", "1", "--ema-decay", "0.5",
)  # fmt: skip


def read_network(folder: Path) -> torch.Tensor:
    states = torch.load(folder / "last.pt", weights_only=True)
    return torch.cat([value.flatten() for value in states["network"].values()])


def test_run_tells_what_it_is_about_to_do(here: Path) -> None:
    done = run(*COMMAND, "--steps", "2")
    assert done.exit_code == 0, done.output
    told = " ".join(done.stderr.split())
    assert "run run, new" in told
    assert f"{sum(p.numel() for p in LFDN(SMALL).parameters()):,} parameters, from small." in told
    assert "16 px × 2 up to step 2" in told
    assert "validation on 1 pair every 1,000 steps" in told
    assert "rain800=pairs 3 – 1 35.0%" in told
    assert "clean=clean – 4 0 65.0%" in told
    assert "run: 2 steps in 0:0" in told
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["step", "2"]]


def test_run_is_resumed_from_its_folder_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From elsewhere, by the paths that were relative; with the result of the repeated command."""
    assert run(*COMMAND, "--steps", "2").exit_code == 0
    assert run(*COMMAND[:-6], "-o", "again", *COMMAND[-6:], "--steps", "2").exit_code == 0
    repeated = run(*COMMAND, "-o", "again", "--steps", "5")
    assert repeated.exit_code == 0, repeated.output
    (here / "small.safetensors").unlink()  # the checkpoint has what it was for
    monkeypatch.chdir("/")
    resumed = run("train", "--resume", here / "run", "--steps", "5")
    assert resumed.exit_code == 0, resumed.output
    assert "resumed at step 2" in resumed.stderr
    assert "made longer from 2 to 5 steps" in " ".join(resumed.stderr.split())
    assert torch.equal(read_network(here / "run"), read_network(here / "again"))
    with (here / "run" / "steps.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5"]
    manifest = json.loads((here / "run" / "run.json").read_text())
    assert (manifest["steps"], manifest["log_every"]) == (5, 1)


@pytest.mark.parametrize("begun", [True, False])
def test_interrupted_run_says_how_it_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    where = "_Trainer.fit" if begun else "split_samples"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"lfdn.training.train.{where}", interrupt)
    stopped = run(*COMMAND, "--steps", "2")
    assert stopped.exit_code == 130
    expected = "; lfdn train --resume run goes on" if begun else " before the first step"
    assert stopped.stderr.splitlines()[-1] == f"interrupted{expected}"
    monkeypatch.undo()
    monkeypatch.chdir(here)
    again = run("train", "--resume", "run")
    assert (again.exit_code == 0) == begun, again.output


def test_complete_run_says_so(here: Path) -> None:
    assert run(*COMMAND, "--steps", "1").exit_code == 0
    again = run("train", "--resume", "run")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "run: complete, 1 step; a larger --steps trains on" in again.stderr


def test_data_that_has_moved_is_named_and_may_be_given_anew(here: Path) -> None:
    assert run(*COMMAND, "--steps", "1").exit_code == 0
    (here / "clean").rename(here / "moved")
    refused = run("train", "--resume", "run", "--steps", "2")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"Error: {here / 'clean'}: is not there, and run/run.json names it; bring it back, or "
        "give its new place with --data\n"
    )
    words = ("train", "--resume", "run", "--steps", "2", "--data", "rain800=pairs")
    other = run(*words)
    assert "was started with samples 8, not 4" in other.stderr
    moved = run(*words, "--data", "clean=moved")
    assert moved.exit_code == 0, moved.output
    assert run("train", "--resume", "run", "--steps", "3").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("--resume", "run", "-o", "run"), 2, "the run has this already; leave out --output"),
        (("--resume", "run", "--network", "lite"), 2, "leave out --network"),
        (("--resume", "run", "--learning-rate", "1"), 1, "learning_rate 0.0008, not 1.0"),
        (("--resume", "run", "--steps", "1"), 1, "with steps 2, not 1; a run can be made longer"),
        (("--resume", "run", "--task", "deblur"), 1, "was started with task derain, not deblur"),
        (("--resume", "pairs"), 1, "pairs: holds no run.json; name the folder of a run"),
        (("--resume", "nowhere"), 1, "nowhere: holds no run.json; name the folder of a run"),
        ((), 2, "--data and -o are needed; or --resume a run"),
        (("--data", "clean=clean"), 2, "--data and -o are needed; or --resume a run"),
    ],
)
def test_resumption_that_is_not_possible_is_one_line(
    here: Path, words: tuple[str, ...], code: int, reason: str
) -> None:
    assert run(*COMMAND, "--steps", "2").exit_code == 0
    before = (here / "run" / "last.pt").read_bytes()
    refused = run("train", *words)
    assert (refused.exit_code, reason in refused.stderr) == (code, True), refused.output
    assert "Traceback" not in refused.output
    assert (here / "run" / "last.pt").read_bytes() == before
    assert not (here / "nowhere").exists()


def test_two_folders_of_a_set_are_found_from_anywhere(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = datasets.make_rain100(here / "pair", 3)
    words = ("train", "--data", "pairs=pair/rainy,pair/clean", "-o", "two", "--stages", "1:16x1",
             "--network", "lite")  # fmt: skip
    for index, path in enumerate(sorted((data / "clean").iterdir())):
        path.rename(path.with_name(f"rain-{index}.png"))
    assert run(*words, "--steps", "1").exit_code == 0
    monkeypatch.chdir("/")
    resumed = run("train", "--resume", here / "two", "--steps", "2")
    assert resumed.exit_code == 0, resumed.output


def test_curves_are_drawn(here: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run(*COMMAND, "--steps", "2").exit_code == 0
    with Image.open(here / "run" / "curves.png") as image:
        assert image.size == (880, 880)
        assert len(image.convert("RGB").getcolors(10**6) or ()) > 50
    assert list((here / "run").glob(".*")) == []


def test_missing_matplotlib_is_said_and_changes_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with caplog.at_level("INFO", logger="lfdn"):
        assert run(*COMMAND, "--steps", "1").exit_code == 0
    assert "no curves.png: it needs matplotlib; pip install 'lfdn-video[report]'" in caplog.text
    assert not (here / "run" / "curves.png").exists()
    assert (here / "run" / "metrics.csv").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard
def test_tensorboard_has_scalars_of_steps_and_pictures(here: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ("--tensorboard", "--validate-every", "2")
    assert run(*COMMAND, *words, "--steps", "2").exit_code == 0
    assert run("train", "--resume", "run", *words, "--steps", "3").exit_code == 0
    events = EventAccumulator(str(here / "run" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    for name in ("loss", "gradient_norm", "learning_rate"):
        assert [event.step for event in events.Scalars(f"training/{name}")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("validation/psnr_y")] == [2, 3]
    pictures = events.Images("validation")
    assert [(each.step, each.width, each.height) for each in pictures] == [
        (2, 64, 144),
        (3, 64, 144),
    ]


SUMMARY = RunSummary(
    options=TrainOptions(steps=200_000, stages=(CropStage(1.0, 64, 4),)), parameters=1, sets=(),
    streaks=0, device="cpu", processes=1, threads=1, precision="float32", validation_pairs=48,
    validation_px=100, step=123_400, seconds=400_000.0, best=33.25, learning_rate=1e-3,
)  # fmt: skip


def make_progress(summary: RunSummary = SUMMARY) -> progress._Progress:
    """Make the progress of a run ten steps after its start, of two seconds each."""
    shown = progress._Progress()
    shown.begin(summary)
    for step in range(1, 11):
        state = TrainingState(summary.step + step, summary.seconds + 2 * step, summary.best,
                              losses=[0.0231])  # fmt: skip
        shown.note_step(state, now_s=2.0 * step)
    return shown


@pytest.mark.parametrize(("columns", "room"), [(60, 50), (90, 82), (115, 108)])
def test_line_fits_beside_a_bar(columns: int, room: int) -> None:
    shown = make_progress()
    line = shown.describe(columns, now_s=20.0)
    assert line.startswith("62%, " if columns < 115 else "step 123,410/200,000, 62%, ")
    assert "0.50 steps/s" in line
    assert "42:33:00 left, done " in line
    assert len(line) <= room
    assert ("loss 0.0231" in line, "best 33.25 dB" in line) == (columns >= 90, columns >= 90)


def test_line_of_a_validation_goes_on() -> None:
    shown = make_progress(replace(SUMMARY, step=200_000 - 10))
    shown.validating = (0, 4)
    before = shown.foresee(now_s=20.0)
    shown.validating = (2, 4)
    after = shown.foresee(now_s=30.0)
    assert before is not None
    assert after == pytest.approx(before / 2)
    assert "validating 2/4, " in shown.describe(60, now_s=30.0)


def test_time_left_goes_down_between_two_steps() -> None:
    shown = make_progress()
    shown._noted_s = 20.0
    first, later = shown.foresee(20.0), shown.foresee(25.0)
    assert first is not None
    assert later == pytest.approx(first - 5)


def test_times_are_short() -> None:
    assert [format_duration(s) for s in (3, 75, 3723)] == ["0:03", "1:15", "1:02:03"]
    assert len(format_clock(time.time())) == len("16:42")
    assert format_clock(0.0).endswith(":00") or format_clock(0.0).endswith(":30")


def test_evaluate_measures_some_images(here: Path) -> None:
    data = datasets.make_rain100(here / "data", 7)
    words = ("evaluate", "--weights", "small.safetensors", "--data", f"rain100={data}")
    done = run(*words, "--limit", "3", "--json", "--csv", "rows.csv")
    printed = json.loads(done.stdout)
    assert (printed["pictures"], printed["limit"]) == (3, 3)
    with (here / "rows.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["rain-0", "rain-2", "rain-4"]
    assert "mean of 3 out of 7 images" in " ".join(run(*words, "--limit", "3").stdout.split())
    assert json.loads(run(*words, "--limit", "99", "--json").stdout)["pictures"] == 7


def test_evaluate_measures_the_first_frames_of_each_sequence(here: Path) -> None:
    data = datasets.make_gopro(here / "data", frames=4)
    words = ("evaluate", "--video", "--weights", "small.safetensors", "--data", f"gopro={data}")
    printed = json.loads(run(*words, "--limit", "2", "--json").stdout)
    assert [row["frames"] for row in printed["sequences"]] == [2, 2]
    assert printed["output_flicker"] is not None
    assert run(*words, "--limit", "1").exit_code == 2
