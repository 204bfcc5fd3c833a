"""What `lfdn-video live` reads: the source from words, and the files that must not be written."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lfdn_video.errors import InputError, OptionError
from lfdn_video.files import Inputs
from lfdn_video.image_files import is_image_file

if TYPE_CHECKING:
    from lfdn_video.stream.addresses import Source

DEFAULT_WEB_ADDRESS = "127.0.0.1:8080"


def parse_live_source(text: str | None, camera: int | None) -> "Source":
    """Find the source of a session. LfdnVideoError if it is missing, or an image."""
    from lfdn_video.stream.addresses import parse_source

    if text is not None and camera is not None:
        raise OptionError("camera: SOURCE is given too; give one of them")
    source = parse_source(text if text is not None else str(camera or 0))
    if source.kind == "file" and not Path(source.address).exists():
        raise InputError(f"{source}: no such file; check the name")
    if source.kind == "file" and is_image_file(Path(source.address)):
        raise InputError(f"{source}: is an image, not a stream; restore it with derain or deblur")
    return source


def check_web(web: str | None, source: str | None) -> None:
    """Refuse `--web SOURCE`, which takes the source for the address of the page."""
    if web is not None and source is None and ("://" in web or Path(web).exists()):
        from lfdn_video.stream.addresses import mask_secrets

        shown = mask_secrets(web)
        raise OptionError(f"web: {shown!r} is not HOST:PORT; write SOURCE first: {shown} --web")


def list_inputs(source: "Source", weights: Path | None) -> Inputs:
    """List the files that a session reads."""
    # A filter graph may read files, too: movie=clip.mp4.
    words = re.split(r"[=:,;'\[\]|]", source.address) if source.kind == "lavfi" else []
    found = [Path(word) for word in words if word and Path(word).is_file()]
    inputs = Inputs([Path(source.address)] if source.kind == "file" else found)
    if weights is not None:
        inputs.add(weights, "the weights file")
    return inputs
