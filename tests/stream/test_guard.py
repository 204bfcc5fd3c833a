"""Access to the live page: host names, origins and tokens."""

import pytest

from lfdn_video.stream.watch.guard import Guard, is_loopback, new_token

TOKEN = "a word, ä"


def check(guard: Guard, **headers: str | None) -> str | None:
    sent: dict[str, str | None] = {"origin": None, "token": None, "cookie": None, **headers}
    return guard.check_request(
        host=headers.get("host") or "localhost:8080",
        origin=sent["origin"],
        token=sent["token"],
        cookie=sent["cookie"],
    )


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_names_and_addresses_are_recognized(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.evil.test", ""])
def test_other_names_and_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:99"])
def test_without_a_token_this_computer_has_access(host: str) -> None:
    assert check(Guard(None), host=host) is None


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8080", "192.168.1.2", "[::1", "a b"])
def test_without_a_token_foreign_host_names_are_refused(host: str) -> None:
    assert check(Guard(None), host=host) == "host"


def test_with_a_token_every_host_name_is_accepted() -> None:
    assert check(Guard(TOKEN), host="cameras.example.org", token=TOKEN) is None


@pytest.mark.parametrize("token", [None, "", "a word", f"{TOKEN} "])
def test_wrong_token_is_refused(token: str | None) -> None:
    assert check(Guard(TOKEN), token=token) == "token"


def test_cookie_is_accepted_instead_of_the_token() -> None:
    guard = Guard(TOKEN)
    assert check(guard, cookie=guard.cookie) is None


def test_cookie_does_not_contain_the_token() -> None:
    assert TOKEN not in Guard(TOKEN).cookie


def test_token_as_cookie_is_refused() -> None:
    assert check(Guard(TOKEN), cookie=TOKEN) == "token"


@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:9", "null"])
def test_foreign_origin_is_refused(origin: str) -> None:
    assert check(Guard(None), origin=origin) == "origin"


def test_own_origin_is_accepted() -> None:
    assert check(Guard(None), origin="http://localhost:8080") is None


def test_new_tokens_are_long_and_differ() -> None:
    assert len(new_token()) >= 32
    assert new_token() != new_token()
