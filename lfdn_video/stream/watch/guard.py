"""Who may look at a live stream's page. Knows names and tokens; the server is `web_app.py`.

Without a token, on this computer alone:
- `Host` must name this computer, or a site of somebody else's whose name leads here (DNS
  rebinding) could read the pictures.
With a token:
- a client brings it in the address (once, a browser then gets a cookie) or, as Prometheus does, as
  `Authorization: Bearer`. Any name of this computer is right then, so a proxy may stand before it.
Always:
- a WebSocket must come from our own page: browsers let any page open one to anywhere.
"""

import hashlib
import hmac
import ipaddress
import secrets
from typing import Literal
from urllib.parse import urlsplit

TOKEN_BYTES = 24
SHORTEST_TOKEN = 8
"""In characters, of those that users give."""


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Whether a name or address is this computer's own and reached from nowhere else."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Answers whether a request may pass. `token` None: everybody on this computer may."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        # Not the token itself, which may be a word that its user needs elsewhere too.
        self.cookie = "" if token is None else hashlib.sha256(token.encode()).hexdigest()

    def refusal(
        self, *, host: str, origin: str | None, token: str | None, cookie: str | None
    ) -> Literal["host", "origin", "token"] | None:
        """What is wrong with a request, by its headers; None if it may pass."""
        if self._token is None and not is_loopback(_name(host)):
            return "host"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "origin"
        return None if self._token is None or self._knows(token, cookie) else "token"

    def _knows(self, token: str | None, cookie: str | None) -> bool:
        assert self._token is not None
        given, kept = (token or "").encode(), (cookie or "").encode()
        return hmac.compare_digest(given, self._token.encode()) or hmac.compare_digest(
            kept, self.cookie.encode()
        )


def _name(host: str) -> str:
    """Of a `Host` header, without port and brackets; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
