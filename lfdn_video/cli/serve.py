"""`lfdn-video serve`: restores several cameras at once, by one configuration file.

The sessions run in threads of their own (`stream/service.py`). The main thread stays free for
signals: a stop signal ends the sessions, which then complete their recordings.
"""

import logging
import stat
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lfdn_video.cli.options import (
    JSON,
    QUIET,
    VERBOSE,
    add_options,
    pass_options,
)
from lfdn_video.cli.program import StopRequested
from lfdn_video.cli.supervisor import Supervisor
from lfdn_video.errors import InputError, LfdnVideoError

if TYPE_CHECKING:
    from lfdn_video.cli.reporters import Reporter
    from lfdn_video.cli.serve_config import ServeConfig
    from lfdn_video.stream.service import Service

REPORT_INTERVAL_S = 0.25
STUCK_S = 60.0
"""A pass of the network that takes longer will not end: a watchdog is no longer fed."""

CHECKED_KEYS = ("codec", "crf", "preset", "pix_fmt", "out", "token")
"""Keys with which messages of other modules begin."""

logger = logging.getLogger(__name__)


@click.command(short_help="Restore several cameras, with one page, recordings and metrics.")
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG")
@click.option("--check", is_flag=True, help="Check CONFIG, and open nothing.")
@add_options(JSON, QUIET, VERBOSE)
@pass_options
def serve(config: Path, *, check: bool, reporter: "Reporter") -> None:
    """Restore all cameras of CONFIG in real time, until a signal comes.

    CONFIG is a TOML file; docs/serve.md shows one. The cameras share the network in fair turns, and
    one that hangs or disconnects harms no other. The page shows all of them.
    """
    from lfdn_video.cli.serve_config import read_config

    settings = read_config(config)
    _check_parts(config, settings)
    count = len(settings.plan.cameras)
    if check:
        reporter.report_note(f"{config}: {count} camera{'s' * (count > 1)}, no mistake found")
        return
    from lfdn_video.cli.serve_view import choose_view
    from lfdn_video.stream.service import Service

    recording = settings.plan.recording
    target = "nothing is written" if recording is None else str(recording.folder)
    supervisor = Supervisor()
    exit_code = 0
    service = Service(settings.plan)
    try:
        with ExitStack() as stack:
            view = stack.enter_context(choose_view(reporter, service.boards, config, target))
            if settings.web is not None:
                reporter.report_note(f"watch them at {_serve_page(stack, settings, service)}")
            stack.enter_context(service)
            stack.callback(supervisor.report_stopping)
            supervisor.report_ready()
            _run_until_stopped(service, view.update, supervisor)
    except StopRequested as stop:  # the regular end of streams that have none
        exit_code = stop.exit_code
    for board in service.boards:
        reporter.report_live_summary(board.status)
    if service.failed:
        raise InputError(f"{config}: failed: {', '.join(service.failed)}; see the messages above")
    if exit_code:
        raise click.exceptions.Exit(exit_code)


def _run_until_stopped(
    service: "Service", report: Callable[[], None], supervisor: Supervisor
) -> None:
    while not service.wait(REPORT_INTERVAL_S):
        report()
        supervisor.report_alive(lambda: service.busy_s < STUCK_S)
    report()


def _serve_page(stack: ExitStack, settings: "ServeConfig", service: "Service") -> str:
    """Serve the page until the stack is closed; return the address to show.

    It contains the token if it was generated, since the user does not know it yet.
    """
    from lfdn_video.stream.watch import web

    assert settings.web is not None
    page = stack.enter_context(
        web.serve(service.boards, settings.web.address, token=settings.web.token)
    )
    return page.url.partition("?")[0] if settings.web.token else page.url


def _check_parts(config: Path, settings: "ServeConfig") -> None:
    """Check what the parts of the program know: addresses, encoders, weights.

    Raises:
        InputError: one of them would be refused when the service starts.
    """
    from lfdn_video.stream.sinks.live_encoder import check_encoding
    from lfdn_video.stream.sinks.push import Push
    from lfdn_video.stream.sinks.recording import MUXER_BY_SUFFIX

    plan = settings.plan

    def check(path: str, try_it: Callable[[], object]) -> None:
        try:
            try_it()
        except LfdnVideoError as error:
            key, _, what = str(error).partition(": ")
            where = f"{path}.{key}: {what}" if key in CHECKED_KEYS else f"{path}: {error}"
            raise InputError(f"{config}: {where}") from error

    if (recording := plan.recording) is not None:
        muxer = MUXER_BY_SUFFIX[recording.suffix]
        check("encode", lambda: check_encoding(plan.encode, muxer))
    for camera in plan.cameras:
        if (out := camera.out) is not None:
            check(f"cameras.{camera.name}", partial(Push, out, encode=plan.encode))
    if settings.web is not None:
        from lfdn_video.stream.watch import web

        address, token = settings.web.address, settings.web.token
        check("web", lambda: web.check_options(address, token))
    mode = config.stat().st_mode
    if mode & stat.S_IROTH and settings.holds_secret:
        logger.warning(
            "%s: holds a password, and every user of this computer can read it; run chmod o-r %s",
            *(config, config),
        )
