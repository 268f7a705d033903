"""Tells systemd how far the service is: units of `Type=notify` and `Type=notify-reload`.

Source: sd_notify(3). Without NOTIFY_SOCKET in the environment nothing is told.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def reloading() -> str:
    """A reload begins; the instant lets systemd tell this one's READY from an older one's."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def notify(state: str) -> None:
    """Send `state`; nobody is held up or told where it cannot be sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
