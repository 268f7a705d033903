"""What `pegboard run` prints once it listens, on standard error: what was started, and URLs to try.

Standard output belongs to the logs, whose lines stay parseable.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterable

from rich.text import Text

from service import __version__
from service.app import Application
from service.cli.printing import console
from service.parts import MountedRoute
from service.slots import Door
from service.table import UNMATCHED

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 (looked for, not listened on)
LISTED = ".list"
"""How the name of a route that takes `limit` ends: `users.list`."""

ITEM = re.compile(r"/\{[^/]+\}")
"""What the path of an item adds to that of its list."""


def print_banner(application: Application, sock: socket.socket, sentences: Iterable[str], *, took_s: float) -> None:
    """`sentences` are what plugins told of themselves; the start took `took_s` seconds."""
    loaded = application.loaded
    settings = loaded.settings
    routes = [plan.route for plan in application.plans if plan.route.name != UNMATCHED]
    on = ", ".join([plugged.name for plugged in loaded.plugins]) or "none"
    off = f" · off: {', '.join(loaded.off)}" if loaded.off else ""
    url = base_url(sock)
    out = console(err=True)
    out.print(
        Text.assemble(
            ("Pegboard", "bold"),
            f" {__version__} · environment ",
            (settings.environment, "bold"),
            f" · {settings.config_path} · started in {took_s:.2f} s",
        )
    )
    out.print(_line("plugins", f"on: {on}{off}"))
    for sentence in (*sentences, *settings.warnings):
        out.print(_line("note", sentence))
    out.print(_line("serving", f"{len(routes)} routes on {url}", style="green"))
    for path in examples(routes):
        out.print(_line("try", f"curl {shlex.quote(url + path)}"))


def _line(label: str, text: str, *, style: str = "") -> Text:
    return Text.assemble((f"  {label:<9}", "dim"), (text, style))


def base_url(sock: socket.socket) -> str:
    """The URL at which a client on this machine finds what listens on `sock`."""
    host, port = sock.getsockname()[:2]
    if host in EVERYWHERE:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def examples(routes: Iterable[MountedRoute]) -> list[str]:
    """Paths to try: a probe, the root of the API, a list and an item of it; without lists, what needs no argument."""
    readable = [route for route in routes if route.method == "GET"]
    plain = [route for route in readable if "{" not in route.path]
    probes = sorted([route.path for route in plain if route.door is Door.PROBE], key=len)
    api = [route for route in plain if route.door is Door.API]
    lists = [route.path for route in api if route.name.endswith(LISTED)]
    others = [route.path for route in api if route.path not in lists]
    items = [f"{path}/1" for path in lists[:1] for route in readable if ITEM.fullmatch(route.path.removeprefix(path))]
    return [*probes[:1], *others[: 1 if lists else 3], *[f"{path}?limit=3" for path in lists[:1]], *items[:1]]
