"""Commands receive their options as the types in their signatures."""

import click
import pytest
from click.testing import CliRunner

from lfdn_video.cli import commands
from lfdn_video.cli.commands import DegradationOptions, RestoreOptions, RunOptions
from lfdn_video.cli.live import SinkOptions, WatchOptions
from lfdn_video.cli.options import (
    ENCODER,
    SPAN,
    ReportOptions,
    add_options,
    option_names,
    options_from,
    pass_options,
)
from lfdn_video.errors import OptionError
from lfdn_video.options import EncodeOptions, InferenceOptions, LiveOptions, SpanOptions

WITHOUT_AN_OPTION = {"overlap_px"}  # Python alone can set it


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("derain", RestoreOptions),
        ("derain", ReportOptions),
        ("degrade", DegradationOptions),
        ("live", LiveOptions),
        ("live", WatchOptions),
        ("live", SinkOptions),
    ],
)
def test_every_field_has_an_option(command: str, kind: type[InferenceOptions]) -> None:
    names = {param.name for param in commands.main.commands[command].params}
    assert option_names(kind) - names - WITHOUT_AN_OPTION == set()


def test_command_receives_dataclasses_and_single_values() -> None:
    received: list[object] = []

    @click.command()
    @click.argument("source")
    @add_options(*SPAN, *ENCODER)
    @pass_options
    def command(source: str, *, span: SpanOptions, encode: EncodeOptions) -> None:
        received.extend([source, span, encode])

    words = ["in.mp4", "--start", "1:30", "--crf", "20", "--codec-option", "tune=film"]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    encode = EncodeOptions(crf=20.0, codec_options={"tune": "film"})
    assert received == ["in.mp4", SpanOptions(start_s=90), encode]


def test_option_that_no_parameter_receives_is_a_bug() -> None:
    @click.command()
    @add_options(*SPAN)
    @pass_options
    def command() -> None:
        """Receives nothing."""

    with pytest.raises(TypeError, match="start_s"):
        CliRunner().invoke(command, [], catch_exceptions=False)


def test_option_that_is_not_given_keeps_the_default() -> None:
    assert options_from(InferenceOptions, {"device": None, "batch": 4}) == InferenceOptions(batch=4)


def test_dataclass_in_a_dataclass_is_made_too() -> None:
    run = options_from(RunOptions, {"output": "out.mp4", "end_s": 2.0, "overwrite": True})
    assert run == RunOptions(
        output="out.mp4", span=SpanOptions(end_s=2.0), encode=EncodeOptions(overwrite=True)
    )


def test_refused_value_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="end: must be after the start"):
        options_from(RunOptions, {"start_s": 5.0, "end_s": 3.0})
