"""Names of targets where no `--output` was given."""

import re
from pathlib import Path

from lfdn_video.errors import OptionError

TARGET_SUFFIXES = {
    "derain": "derained",
    "deblur": "deblurred",
    "rain": "rainy",
    "blur": "blurred",
}


def default_target(source: str, task: str) -> str:
    """Choose the target's name if no `--output` was given.

    Args:
        source: the source's name.
        task: a key of `TARGET_SUFFIXES`.

    Returns:
        `clip.derained.mp4` for `clip.mp4`, `frames-derained` for a folder `frames`.

    Raises:
        OptionError: the source is a pattern of file names.
    """
    path = Path(source)
    if re.search(r"%\d*d|[*?\[]", path.name) and not path.exists():
        raise OptionError(f"{source}: the target cannot be named after a pattern; use --output")
    if path.is_dir():
        path = path.resolve()
        return str(path.with_name(f"{path.name}-{TARGET_SUFFIXES[task]}"))
    return str(path.with_name(f"{path.stem}.{TARGET_SUFFIXES[task]}{path.suffix}"))
