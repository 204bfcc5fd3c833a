"""Messages to systemd: the service is ready, is alive, stops (the protocol of `sd_notify`).

Without systemd, which sets `NOTIFY_SOCKET`, nothing is sent.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress


class Supervisor:
    """Sends the messages; a unit has `Type=notify`, and may have `WatchdogSec=`."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the null byte of Linux's abstract sockets.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        self._interval_s = watchdog_s / 3
        self._next_s = 0.0

    def report_ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def report_stopping(self) -> None:
        """The service ends, which may take until recordings are complete."""
        self._send("STOPPING=1")

    def report_alive(self, is_alive: Callable[[], bool]) -> None:
        """Feed the watchdog when it is due, unless the service hangs. Call it often."""
        if self._interval_s and time.monotonic() >= self._next_s and is_alive():
            self._next_s = time.monotonic() + self._interval_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), self._address)
