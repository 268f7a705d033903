"""The page: a template, rendered with aiohttp-jinja2 and sent under a policy that allows what is in it and no more."""

from __future__ import annotations

import shlex
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

from plugins.home.listing import TO_TRY, Listing, Place
from service.api import About, Answer

TEMPLATE: Final = "home.html"


class Page:
    """Renders the page."""

    def __init__(self, url: str | None, *, headers: tuple[tuple[str, str], ...]) -> None:
        """`url` is where clients find the API, or None: where the request came to. `headers` join the page's own."""
        self._url = url
        style, script = _text("home.css"), _text("home.js")
        # aiohttp-jinja2 keeps its environment on an application. The service's own is no plugin's to write to, and is
        # frozen before it listens: this one holds the environment and serves nothing.
        templates = aiohttp_jinja2.setup(
            web.Application(),
            loader=jinja2.PackageLoader("plugins.home"),
            default_helpers=False,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = templates.get_template(TEMPLATE, globals={"style": style, "script": script})
        policy = (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._headers = (
            *headers,
            ("Content-Security-Policy", policy),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        )

    def render(self, listing: Listing, *, about: About | None, up: str, origin: str) -> Answer:
        """The page as a client sees it that came to `origin`. What runs is told where `about` is given."""

        def curl(place: Place) -> str:
            url = place.under(self._url)
            whole = url if "://" in url else origin + url
            return f"curl {shlex.quote(whole + (TO_TRY if place.is_list else ''))}"

        def href(place: Place) -> str:
            return place.under(self._url)

        text = self._template.render(listing=listing, about=about, up=up, origin=origin, curl=curl, href=href)
        return Answer(200, text.encode(), content_type="text/html; charset=utf-8", headers=self._headers)


def up_for(seconds: float) -> str:
    """How long, in the two units that say most: `3 h 12 min`."""
    minutes = int(seconds // 60)
    days, hours = minutes // 1_440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else "< 1 min"


def _text(name: str) -> str:
    return (files("plugins.home") / "templates" / name).read_text()


def _hash(inline: str) -> str:
    """How a Content-Security-Policy calls an element with this text (CSP 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"
