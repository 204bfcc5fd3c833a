"""The middleware that checks every request to the live page.

It applies the rules of `guard.py`: answers 403 to foreign names and pages, 401 to a missing or
wrong token, and exchanges a token in the address for a cookie.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import hdrs, web

from lfdn_video.stream.watch.guard import Guard

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

PUBLIC_FILES = ("page.css", "icon.svg")
"""Served to everybody: the page that asks for the token needs them."""

WRONG = "wrong"
"""Marks the address of the page that asks again."""

ADVICE = {
    "host": "without a token only this computer has access; open the page as http://localhost,"
    " or give the server a token\n",
    "origin": "requests from other pages are refused\n",
}


class AccessControl:
    """Checks every request before its handler runs."""

    def __init__(self, guard: Guard, *, port: int, token_page: str) -> None:
        """Apply the rules of `guard`.

        Args:
            guard: the rules.
            port: the port of the server; it makes the cookie's name unique, as cookies are shared
                by all ports of a host.
            token_page: HTML of the page that asks for the token, with `{what}` for the reason.
        """
        self._guard = guard
        self._cookie = f"lfdn_video_{port}"
        self._token_page = token_page

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Run `handler` if the request is allowed; otherwise answer it."""
        is_page = request.path.endswith("/")
        token = request.query.get("token") or _bearer_token(request)
        refusal = self._guard.check_request(
            host=request.headers.get(hdrs.HOST, ""),
            origin=request.headers.get(hdrs.ORIGIN),
            token=token,
            cookie=request.cookies.get(self._cookie),
        )
        if refusal == "token" and is_page and "token" in request.query:
            # What was mistyped may be a secret of something else: out of the address, too.
            return web.Response(status=303, headers={hdrs.LOCATION: f"./?{WRONG}"})
        if refusal == "token" and request.path.rpartition("/")[2] not in PUBLIC_FILES:
            wrong = token is not None or WRONG in request.query
            return self._ask_for_token(request, wrong=wrong)
        if refusal in ADVICE:
            return web.Response(status=403, text=ADVICE[refusal])
        if is_page and "token" in request.query and self._guard.cookie:
            return self._redirect_with_cookie(request)
        return await handler(request)

    def _redirect_with_cookie(self, request: web.Request) -> web.Response:
        """Remove the token from the address, which ends up in histories and screenshots."""
        response = web.Response(status=303, headers={hdrs.LOCATION: "./"})
        response.set_cookie(
            self._cookie,
            self._guard.cookie,
            httponly=True,
            samesite="Lax",
            secure=request.secure,
        )
        return response

    def _ask_for_token(self, request: web.Request, *, wrong: bool) -> web.Response:
        headers = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="lfdn-video"'}
        what = "This is not the right token." if wrong else "This page needs its token."
        if not request.path.endswith("/"):
            return web.Response(status=401, text=f"{what}\n", headers=headers)
        page = self._token_page.replace("{what}", what)
        return web.Response(status=401, text=page, content_type="text/html", headers=headers)


def _bearer_token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
