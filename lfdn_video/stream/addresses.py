"""Addresses of live sources and targets (cameras, URLs, test sources, files), and their secrets.

An address may contain a password. Only `Source` keeps it in full, for opening; everything that is
shown, logged or served passes through `mask_secrets` or `redact` first. Values only:
`capture/sources.py` opens sources, `sinks/push.py` pushes to targets.
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
"""FFmpeg's protocol whitelist by scheme. None contains `file`: an address must not open local
files."""

MASK = "***"

MIN_SECRET_CHARACTERS = 3
"""In characters. Shorter secrets are not searched for in text: they would match inside words."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"]+@")
_SECRET_FIELD = re.compile(
    r"([?&;](?:[\w.-]*(?:pass|pwd|user|usr|login|auth|token|key|secret|sig|cred|session)[\w.-]*"
    r"|streamid)=)[^&;#\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """A live source. `str()` and `repr()` omit the secrets in its address."""

    kind: SourceKind
    """Decides how it is opened."""
    address: str = field(repr=False)
    """The address as given, credentials included; for a camera, its number or its device."""

    def __str__(self) -> str:
        return f"camera {self.address}" if self.kind == "camera" else mask_secrets(self.address)

    @property
    def scheme(self) -> str:
        """The lower-case scheme of a network source; "" for every other kind."""
        return scheme_of(self.address) if self.kind == "network" else ""

    @property
    def endless(self) -> bool:
        """True for cameras and addresses: for them, an end is a failure."""
        return self.kind in ("camera", "network")

    @property
    def has_secret(self) -> bool:
        """True if the address contains a password, a key or a token."""
        return bool(_find_secrets(self.address))

    def redact(self, text: str) -> str:
        """Return `text`, which may quote this address, without its secrets."""
        return redact(text, self.address)


def parse_source(text: str) -> Source:
    """Determine the kind of source that `text` names.

    Args:
        text: a camera's number or its `/dev/…`, an address with a scheme, `lavfi:` and a filter
            graph of FFmpeg, or a file's name.

    Returns:
        The source; it need not exist.

    Raises:
        OptionError: the scheme of the address is not in `PROTOCOLS`.
    """
    if text.isdecimal() or text.startswith("/dev/"):
        return Source("camera", text)
    if text.startswith(LAVFI_PREFIX):
        return Source("lavfi", text)
    if not (scheme := scheme_of(text)):
        return Source("file", text)
    if scheme not in PROTOCOLS:
        raise OptionError(
            f"{mask_secrets(text)}: {scheme}:// cannot be opened as a stream; "
            f"use one of {', '.join(f'{name}://' for name in PROTOCOLS)}"
        )
    return Source("network", text)


def scheme_of(text: str) -> str:
    """Return the lower-case scheme, `rtsp` of `rtsp://…`; "" if there is none."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def describe_missing_protocol(scheme: str) -> str:
    """Return the message for a scheme that FFmpeg was built without."""
    return f"this FFmpeg was built without {scheme}://; use another kind of address"


def mask_secrets(address: str) -> str:
    """Return the address with `***` for user, password, keys and tokens.

    The last part of an RTMP path is a stream key, so it is masked too.
    """
    shown = _CREDENTIALS.sub(f"{MASK}@", address)
    shown = _SECRET_FIELD.sub(rf"\1{MASK}", shown)
    if scheme_of(address) in ("rtmp", "rtmps"):
        head, slash, key = shown.rpartition("/")
        shown = f"{head}{slash}{MASK}" if key and head.count("/") > 2 else shown
    return shown


def redact(text: str, address: str) -> str:
    """Mask every secret of `address` in `text`, and credentials of any other address there.

    Args:
        text: a message, for instance FFmpeg's, that may quote the address or a part of it.
        address: the address, credentials included.

    Returns:
        The text with `***` in place of each secret.
    """
    text = text.replace(address, mask_secrets(address))
    # Longest first: masking a secret inside another one would leave the rest of that legible.
    for secret in sorted(_find_secrets(address), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _SECRET_FIELD.sub(rf"\1{MASK}", _CREDENTIALS.sub(f"{MASK}@", text))


def _find_secrets(address: str) -> set[str]:
    """Find the address's passwords and tokens, both percent-encoded and decoded."""
    found = {match[0].partition("=")[2] for match in _SECRET_FIELD.finditer(address)}
    if credentials := _CREDENTIALS.search(address):
        login = credentials[0][:-1]
        found |= {login, login.partition(":")[2]}
    if scheme_of(address) in ("rtmp", "rtmps") and address.count("/") > 3:
        found.add(address.rpartition("/")[2])
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= MIN_SECRET_CHARACTERS}
