"""The exception tree and its exit codes."""

import pytest

from lfdn_video import errors


def test_every_error_derives_from_the_base_class() -> None:
    named = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(error, errors.LfdnVideoError) for error in named)


def test_option_error_has_exit_code_2_and_all_others_1() -> None:
    codes = {name: getattr(errors, name).exit_code for name in errors.__all__}
    assert {name for name, code in codes.items() if code == 2} == {"OptionError"}
    assert set(codes.values()) == {1, 2}


def test_message_is_the_text_of_the_error() -> None:
    with pytest.raises(errors.InputError, match=r"^a\.mp4: no such file$"):
        raise errors.InputError("a.mp4: no such file")
