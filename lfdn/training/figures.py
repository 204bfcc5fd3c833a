"""Figures of a run: of a step, of some steps, of a validation; and the CSV files that hold them.

    steps.csv    a row every `log_every` steps: `StepsRow`
    metrics.csv  a row for each validation: `MetricsRow`

A resumed run writes the rows after its checkpoint again, so they are dropped first.
"""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one step computed."""

    step: int
    """Its number, counted from 1."""
    learning_rate: float
    loss: float
    gradient_norm: float
    """Before clipping."""


@dataclass(frozen=True, slots=True)
class StepsRow:
    """One row of `steps.csv`: the steps since the last row."""

    step: int
    """The last of them, counted from 1."""
    seconds: float
    """Time spent on training when the figures were read, over all sessions of the run."""
    learning_rate: float
    """Of the last step."""
    loss: float
    """Mean. Several processes share a batch; this is the share of the first."""
    gradient_norm: float
    """Mean, before clipping."""


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """One row of `metrics.csv`. PSNR in dB, over the validation images."""

    step: int
    seconds: float
    """Time spent on training, over all sessions of the run."""
    learning_rate: float
    loss: float
    """Mean since the last row."""
    gradient_norm: float
    """Mean since the last row, before clipping."""
    validation_input_psnr_y: float
    validation_psnr_y: float
    validation_input_psnr_rgb: float
    validation_psnr_rgb: float
    crops: int
    """Crops trained on, over all sessions of the run."""


Row = StepsRow | MetricsRow


def append_row(path: Path, row: Row) -> None:
    """Append a row to a CSV file; the first one gets a header.

    Raises:
        OSError: The file cannot be written.
    """
    new = not path.exists()
    with path.open("a", newline="") as file:
        names = [column.name for column in fields(row)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def drop_rows_after(path: Path, step: int) -> None:
    """Drop the rows of later steps, and a last one that was cut short.

    Args:
        path: A file of `append_row`; it need not exist.
        step: The last step whose row is kept; 0 removes the file.

    Raises:
        OSError: The file cannot be written.
    """
    if not step or not path.exists():
        path.unlink(missing_ok=True)
        return
    head, *rows = path.read_text().splitlines(keepends=True) or [""]
    columns = head.count(",")
    whole = [row for row in rows if row.endswith("\n") and row.count(",") == columns]
    kept = [row for row in whole if int(row.split(",", 1)[0]) <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join([head, *kept]))
    partial.replace(path)


def read_columns(path: Path) -> dict[str, list[float]]:
    """Read the columns of a file of `append_row`, also of an older version.

    Returns:
        Values by the name of their column; nothing if there is no file.

    Raises:
        ValueError: A value is not a number.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
