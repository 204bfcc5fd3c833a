"""What a live source or target is called: cameras, addresses, test sources, files; and what of that
is secret.

An address may hold a password. It is kept whole in `Source` alone, to be opened with; whatever is
shown, logged or served goes through `mask_secrets` or `Source.redact`. Values only: opening is done in
`grabber.py`, pushing in `push.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import unquote

from lfdn_video.errors import OptionError

SourceKind = Literal["camera", "network", "lavfi", "file"]

LAVFI_PREFIX = "lavfi:"

PROTOCOLS: Mapping[str, str] = MappingProxyType(
    {
        "http": "http,https,httpproxy,tcp,tls,crypto",
        "https": "http,https,httpproxy,tcp,tls,crypto",
        "rtmp": "rtmp,tcp",
        "rtmps": "rtmps,tls,tcp",
        "rtp": "rtp,udp",
        "rtsp": "rtsp,rtp,tcp,udp",
        "rtsps": "rtsps,rtsp,rtp,tls,tcp,udp",
        "srt": "srt",
        "tcp": "tcp",
        "udp": "udp",
    }
)
"""Schemes of addresses, and what FFmpeg may use to open one: no file of this machine."""

HIDDEN = "***"

SHORTEST_SECRET = 3
"""Shorter ones are not looked for by themselves: words would be torn apart."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"]+@")
_SECRET_FIELD = re.compile(
    r"([?&;](?:[\w.-]*(?:pass|pwd|user|usr|login|auth|token|key|secret|sig|cred|session)[\w.-]*"
    r"|streamid)=)[^&;#\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures come from. Shows its address without what is secret in it."""

    kind: SourceKind
    address: str = field(repr=False)
    """As FFmpeg wants it: for a camera its number or its device; credentials included."""

    def __str__(self) -> str:
        return f"camera {self.address}" if self.kind == "camera" else mask_secrets(self.address)

    @property
    def scheme(self) -> str:
        """Of an address, in small letters; "" for all else."""
        return scheme_of(self.address) if self.kind == "network" else ""

    @property
    def endless(self) -> bool:
        """Whether it goes on for good, so that an end is a failure."""
        return self.kind in ("camera", "network")

    def redact(self, text: str) -> str:
        """`text`, which may quote the address, without what is secret."""
        return redact(text, self.address)


def parse_source(text: str) -> Source:
    """What `text` names: a number or /dev/… a camera, `lavfi:…` a test source, or a file.

    OptionError for an address of an unknown scheme.
    """
    if text.isdecimal() or text.startswith("/dev/"):
        return Source("camera", text)
    if text.startswith(LAVFI_PREFIX):
        return Source("lavfi", text)
    if not (scheme := scheme_of(text)):
        return Source("file", text)
    if scheme not in PROTOCOLS:
        raise OptionError(
            f"{mask_secrets(text)}: {scheme}:// is no stream that can be opened; "
            f"give one of {', '.join(f'{name}://' for name in PROTOCOLS)}"
        )
    return Source("network", text)


def scheme_of(text: str) -> str:
    """`rtsp` of `rtsp://…`, in small letters; "" if there is none."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def describe_missing_protocol(scheme: str) -> str:
    """What is wrong where FFmpeg was built without it."""
    return f"this FFmpeg was built without {scheme}://; use another kind of address"


def mask_secrets(address: str) -> str:
    """The address to show: without user, password, keys and tokens.

    Of an RTMP address the last part of the path is a key, too.
    """
    shown = _CREDENTIALS.sub(f"{HIDDEN}@", address)
    shown = _SECRET_FIELD.sub(rf"\1{HIDDEN}", shown)
    if scheme_of(address) in ("rtmp", "rtmps"):
        head, slash, key = shown.rpartition("/")
        shown = f"{head}{slash}{HIDDEN}" if key and head.count("/") > 2 else shown
    return shown


def redact(text: str, address: str) -> str:
    """`text` of somebody else about `address`, wherever it quotes it or a part of it."""
    text = text.replace(address, mask_secrets(address))
    for secret in sorted(_secrets(address), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _SECRET_FIELD.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", text))


def _secrets(address: str) -> set[str]:
    """What must not be shown alone either: passwords and tokens, as written and as meant."""
    found = {match[0].partition("=")[2] for match in _SECRET_FIELD.finditer(address)}
    if credentials := _CREDENTIALS.search(address):
        login = credentials[0][:-1]
        found |= {login, login.partition(":")[2]}
    if scheme_of(address) in ("rtmp", "rtmps") and address.count("/") > 3:
        found.add(address.rpartition("/")[2])
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}
