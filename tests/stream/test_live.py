"""Which networks a live session may use."""

import pytest

import lfdn
from lfdn_video.options import InferenceOptions
from lfdn_video.stream.live import live_engine
from tests.support.fakes import identity_engine

CPU = InferenceOptions(device="cpu")


@pytest.fixture
def _lite_is_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lfdn, "available", lambda: ("derain", "derain_lite"))


@pytest.mark.usefixtures("_lite_is_packaged")
def test_lite_network_may_take_over() -> None:
    with live_engine("derain", inference=CPU) as networks:
        assert networks.lighter is not None


@pytest.mark.usefixtures("_lite_is_packaged")
def test_network_that_the_user_chose_stays() -> None:
    options = InferenceOptions(device="cpu", network="full")
    with live_engine("derain", inference=options) as networks:
        assert networks.lighter is None


@pytest.mark.usefixtures("_lite_is_packaged")
def test_engine_that_was_passed_stays() -> None:
    with identity_engine() as engine, live_engine("derain", engine=engine) as networks:
        assert (networks.runner, networks.lighter) == (engine, None)


def test_nothing_takes_over_without_lite_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lfdn, "available", lambda: ("derain",))
    with live_engine("derain", inference=CPU) as networks:
        assert networks.lighter is None
