"""The access rules of a live session's page. Knows names and tokens, no server.

Without a token, only this computer has access:
- `Host` must name this computer. Otherwise a foreign site whose name resolves to this computer (DNS
  rebinding) could read the frames.
With a token:
- A client sends it in the address (once; a browser then gets a cookie) or, as Prometheus does, as
  `Authorization: Bearer`. Any host name is accepted then, so a proxy may stand in front.
Always:
- A WebSocket must come from our own page: browsers let any page open one to anywhere.

`web_access.py` applies them to every request.
"""

import hashlib
import hmac
import ipaddress
import secrets
from typing import Literal
from urllib.parse import urlsplit

TOKEN_BYTES = 24
MIN_TOKEN_CHARACTERS = 8
"""Minimum length of a token that a user chooses."""


def new_token() -> str:
    """Return a random token that is valid in a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Return True for a name or address that only this computer can reach."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Decides whether a request is allowed."""

    def __init__(self, token: str | None) -> None:
        """Require `token`; with None, allow only this computer."""
        self._token = token
        # A hash, not the token: users may reuse it elsewhere.
        self.cookie = "" if token is None else hashlib.sha256(token.encode()).hexdigest()
        """Value of the cookie that stands for the token; empty without one."""

    def check_request(
        self, *, host: str, origin: str | None, token: str | None, cookie: str | None
    ) -> Literal["host", "origin", "token"] | None:
        """Check a request by its headers.

        Args:
            host: the `Host` header.
            origin: the `Origin` header; browsers send it with WebSockets and foreign requests.
            token: the token from the address or from `Authorization`.
            cookie: the value of our cookie.

        Returns:
            The part that is wrong; None if the request is allowed.
        """
        if self._token is None and not is_loopback(_host_name(host)):
            return "host"
        # Browsers always send it with a WebSocket; a client without one is no foreign page.
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "origin"
        if self._token is None or self._is_authorized(self._token, token, cookie):
            return None
        return "token"

    def _is_authorized(self, secret: str, token: str | None, cookie: str | None) -> bool:
        # compare_digest, so that the duration reveals nothing about the secret.
        return hmac.compare_digest((token or "").encode(), secret.encode()) or hmac.compare_digest(
            (cookie or "").encode(), self.cookie.encode()
        )


def _host_name(host: str) -> str:
    """Return the name in a `Host` header, without port and brackets; empty if malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
