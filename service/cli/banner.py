"""What `pegboard run` prints once it listens, on standard error: what was started, and URLs to try.

Standard output belongs to the logs, whose lines stay parseable.
"""

from __future__ import annotations

import shlex
import socket

from rich.text import Text

from service import __version__
from service.cli.printing import console
from service.listening import MAIN, OPERATOR, base_url
from service.supervisor import Started


def print_banner(started: Started, *, took_s: float) -> None:
    """The start took `took_s` seconds."""
    settings, ready, listeners = started.settings, started.ready, started.listeners
    off = f" · off: {', '.join(ready.off)}" if ready.off else ""
    out = console(err=True)
    out.print(
        Text.assemble(
            ("Pegboard", "bold"),
            f" {__version__} · environment ",
            (settings.environment, "bold"),
            f" · {settings.config_path} · started in {took_s:.2f} s",
        )
    )
    out.print(_line("plugins", f"on: {', '.join(ready.plugins) or 'none'}{off}"))
    for sentence in started.notes:
        out.print(_line("note", sentence))
    main = listeners.socket(MAIN)
    is_secure = settings.service.tls is not None
    url = base_url(main, secure=is_secure)
    where = f"unix:{main.getsockname()}" if main.family == socket.AF_UNIX else url
    by = f", {started.worker_count} workers" if started.worker_count > 1 else ""
    out.print(_line("serving", f"{ready.route_count} routes on {where}{by}", style="green"))
    if OPERATOR in listeners.names:
        out.print(_line("operator", base_url(listeners.socket(OPERATOR), secure=is_secure), style="green"))
    option = f"--unix-socket {shlex.quote(main.getsockname())} " if main.family == socket.AF_UNIX else ""
    for path in ready.examples:
        out.print(_line("try", f"curl {option}{shlex.quote(url + path)}"))


def _line(label: str, text: str, *, style: str = "") -> Text:
    return Text.assemble((f"  {label:<9}", "dim"), (text, style))
