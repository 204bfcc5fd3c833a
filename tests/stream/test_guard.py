"""Who may look: names, origins and tokens."""

import pytest

from lfdn_video.stream.watch.guard import Guard, is_loopback, new_token

TOKEN = "a word, ä"


def refusal(guard: Guard, **headers: str | None) -> str | None:
    asked: dict[str, str | None] = {"origin": None, "token": None, "cookie": None, **headers}
    return guard.check_request(
        host=headers.get("host") or "localhost:8080",
        origin=asked["origin"],
        token=asked["token"],
        cookie=asked["cookie"],
    )


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_computer(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.evil.test", ""])
def test_not_this_computer_alone(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:99"])
def test_without_a_token_this_computer_may_look(host: str) -> None:
    assert refusal(Guard(None), host=host) is None


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8080", "192.168.1.2", "[::1", "a b"])
def test_without_a_token_a_foreign_name_is_refused(host: str) -> None:
    assert refusal(Guard(None), host=host) == "host"


def test_with_a_token_any_name_is_right() -> None:
    assert refusal(Guard(TOKEN), host="cameras.example.org", token=TOKEN) is None


@pytest.mark.parametrize("token", [None, "", "a word", f"{TOKEN} "])
def test_a_wrong_token_is_refused(token: str | None) -> None:
    assert refusal(Guard(TOKEN), token=token) == "token"


def test_the_cookie_is_as_good_as_the_token() -> None:
    guard = Guard(TOKEN)
    assert refusal(guard, cookie=guard.cookie) is None


def test_the_cookie_does_not_hold_the_token() -> None:
    assert TOKEN not in Guard(TOKEN).cookie


def test_the_token_is_no_cookie() -> None:
    assert refusal(Guard(TOKEN), cookie=TOKEN) == "token"


@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:9", "null"])
def test_another_page_is_refused(origin: str) -> None:
    assert refusal(Guard(None), origin=origin) == "origin"


def test_our_own_page_may_ask() -> None:
    assert refusal(Guard(None), origin="http://localhost:8080") is None


def test_tokens_are_long_and_differ() -> None:
    assert len(new_token()) >= 32
    assert new_token() != new_token()
