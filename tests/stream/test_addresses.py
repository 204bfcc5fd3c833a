"""Names of live sources, and that their secrets are never shown."""

import pytest

from lfdn_video.errors import OptionError
from lfdn_video.stream.addresses import Source, mask_secrets, parse_source

KINDS = {
    "0": "camera",
    "/dev/video2": "camera",
    "lavfi:testsrc2": "lavfi",
    "clip.mp4": "file",
    "folder/clip.mkv": "file",
    "rtsp://camera/1": "network",
    "udp://@239.0.0.1:1234": "network",
}
MASKED = {
    "rtsp://camera/1": "rtsp://camera/1",
    "rtsp://user:secret@camera:554/1?channel=2": "rtsp://***@camera:554/1?channel=2",
    "rtsp://user:se/c@ret@camera/1": "rtsp://***@camera/1",
    "http://camera/video?user=admin&pwd=secret&x=1": "http://camera/video?user=***&pwd=***&x=1",
    "srt://host:1?passphrase=secretsecret": "srt://host:1?passphrase=***",
    "rtmp://host/live/streamkey": "rtmp://host/live/***",
    "clip.mp4": "clip.mp4",
}


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_kind_of_a_source_follows_from_its_name(text: str, kind: str) -> None:
    assert parse_source(text).kind == kind


@pytest.mark.parametrize(("address", "shown"), MASKED.items())
def test_mask_secrets_hides_credentials_and_keys(address: str, shown: str) -> None:
    assert mask_secrets(address) == shown


def test_unknown_scheme_is_refused_without_showing_its_password() -> None:
    with pytest.raises(OptionError, match="ftp:// cannot be opened") as refused:
        parse_source("ftp://user:secret@host/clip")
    assert "secret" not in str(refused.value)


def test_source_does_not_show_its_password() -> None:
    source = parse_source("rtsp://user:secret@camera/1")
    assert "secret" not in f"{source} {source!r}"


@pytest.mark.parametrize(
    "text",
    [
        "cannot open rtsp://user:p%40ss@camera/1",
        "authorisation of user:p%40ss failed",
        "wrong password 'p@ss'",
        "redirected to http://other:words@elsewhere/1?token=abcdef",
    ],
)
def test_redact_masks_quoted_addresses_and_parts_of_them(text: str) -> None:
    hidden = Source("network", "rtsp://user:p%40ss@camera/1").redact(text)
    assert not any(secret in hidden for secret in ("p%40ss", "p@ss", "other:words", "abcdef"))
    assert "***" in hidden
