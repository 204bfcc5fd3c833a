"""Health of a container: `/healthz` of the page, if the program has one; else that it runs at all.

`HEALTH_URL` names another address; empty, the page is not asked. Needs Python alone.
"""

import os
import sys
import urllib.request
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8080/healthz"
TIMEOUT_S = 8.0


def has_page(words: list[str]) -> bool:
    """Tell whether a command serves a page."""
    return "serve" in words or any(word.startswith("--web") for word in words)


def main(command: Path = Path("/proc/1/cmdline")) -> int:
    """Return 0 if the program is well, 1 if not."""
    words = command.read_text(encoding="utf-8", errors="replace").split("\0")
    url = os.environ.get("HEALTH_URL", DEFAULT_URL if has_page(words) else "")
    if not url:
        return 0  # a run over files ends by itself, well or not
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return 0
    except OSError as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
