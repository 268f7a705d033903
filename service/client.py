"""Who a request comes from: the socket's peer, or whoever a trusted proxy says that it speaks for.

    client ── proxy 2 (trusted) ── proxy 1 (trusted) ── us      X-Forwarded-For: made-up, client, proxy 2

What proxies say is read from the right, where the nearest one wrote: a hop counts as long as everything to its right
is trusted, and the first that is not is the client. So whatever a client writes itself is never reached. Pure, but for
reading the request; what it is given may be hostile, costs little and raises nothing.

Source: RFC 7239 (`Forwarded`); the X-Forwarded headers have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, NamedTuple, TypeAlias

from aiohttp.web import Request
from multidict import CIMultiDictProxy

from service.keys import Client

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

UNIX: Final = "unix"
"""What stands for the peer on a unix socket among the trusted proxies: it has no address."""

MOST_HOPS: Final = 32
"""Items of a list that are looked at (chosen: five proxies in a row are many)."""

LONGEST_ELEMENT: Final = 1_024
"""Characters of one element of `Forwarded`; a longer one says nothing (chosen)."""

REMEMBERED: Final = 4_096
"""Addresses whose reading is kept (chosen; about 1 MB)."""

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_PORT: Final = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE: Final = re.compile(rf"(?P<v4>[0-9.]{{7,15}}){_PORT}|\[(?P<v6>[^\]]{{2,60}})\]{_PORT}|(?P<bare>[^\[\]]{{2,60}})")
_PAIR: Final = re.compile(
    r"""[ \t]* ([!#$%&'*+.^_`|~0-9A-Za-z-]+) = (?: "((?:[^"\\]|\\.)*)" | ([^",; \t]*) ) [ \t]* (?:;|\Z)""", re.VERBOSE
)


class Hop(NamedTuple):
    """What one proxy says of whoever spoke to it; empty where it says nothing."""

    node: str = ""
    scheme: str = ""
    host: str = ""


def client_of(proxies: Iterable[str]) -> Callable[[Request], Client]:
    """What tells the client of a request, where these proxies (networks, addresses, `unix`) are trusted."""
    trusted = tuple(proxies)
    return Proxies(trusted).client if trusted else _peer


def _peer(request: Request) -> Client:
    """The client where nobody is trusted: whoever is at the other end of the socket."""
    return Client(canonical(request.remote or ""), request.scheme, request.headers.get("Host", ""))


class Proxies:
    """The proxies whose word counts."""

    __slots__ = ("_is_unix_trusted", "_networks", "judge")

    def __init__(self, proxies: Iterable[str]) -> None:
        """Raises ValueError for what is neither a network nor an address nor `unix`."""
        texts = tuple(proxies)
        self._is_unix_trusted = UNIX in texts
        self._networks = tuple(_network(text) for text in texts if text != UNIX)
        self.judge = lru_cache(REMEMBERED)(self._judge)

    def client(self, request: Request) -> Client:
        """The client of a request."""
        headers = request.headers
        return self.behind(request.remote or "", request.scheme, headers.get("Host", ""), headers)

    def behind(self, peer: str, scheme: str, host: str, headers: CIMultiDictProxy[str]) -> Client:
        """The client whom `peer`, who has sent `headers`, speaks for: itself, unless it is trusted.

        `scheme` and `host` are those of the socket and the request; they hold where no trusted proxy says better.
        """
        address, is_trusted = self.judge(peer)
        if not address:
            is_trusted = self._is_unix_trusted
        if not is_trusted:
            return Client(address, scheme, host)
        hop = Hop()
        for hop in _hops(headers):
            node, is_trusted = self.judge(hop.node)
            if not node:
                break  # it hides whom it spoke to: nobody further away is known than itself
            address = node
            if not is_trusted:
                break
        return Client(
            address, _SCHEMES.get(hop.scheme.lower(), scheme), hop.host if _HOST.fullmatch(hop.host) else host
        )

    def _judge(self, node: str) -> tuple[str, bool]:
        """The address of a node, empty where it has none, and whether it is trusted."""
        address = _address(node)
        if address is None:
            return "", False
        return str(address), any(address in network for network in self._networks)


@lru_cache(REMEMBERED)
def canonical(peer: str) -> str:
    """An address in the one form in which it is compared and logged: IPv6 compressed, in lower case and without a
    zone, IPv4 also where it came mapped into IPv6. Empty for what is no address, as on a unix socket."""
    address = _address(peer)
    return "" if address is None else str(address)


def _address(node: str) -> Address | None:
    """The address of a node, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        if match["v4"]:
            return IPv4Address(match["v4"])
        address = IPv6Address((match["v6"] or match["bare"]).partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address


def _network(text: str) -> Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


# --- what proxies say, the nearest first


def _hops(headers: CIMultiDictProxy[str]) -> Iterator[Hop]:
    forwarded = headers.getall("Forwarded", None)
    if forwarded is not None:
        return map(_said, _items(",".join(forwarded), _quoted_comma_before))
    return _x_hops(*(",".join(headers.getall(f"X-Forwarded-{name}", ())) for name in ("For", "Proto", "Host")))


def _x_hops(nodes: str, schemes: str, hosts: str) -> Iterator[Hop]:
    """The three lists side by side. A proxy that says nothing of the scheme leaves what those before it have said."""
    scheme_list, host_list = ([*_items(text, _comma_before)] or [""] for text in (schemes, hosts))
    for place, node in enumerate(_items(nodes, _comma_before) if nodes else ("",)):
        yield Hop(node, scheme_list[min(place, len(scheme_list) - 1)], host_list[min(place, len(host_list) - 1)])


def _items(text: str, comma_before: Callable[[str, int], int]) -> Iterator[str]:
    """The items of a list from the last one on, without the empty ones."""
    end = len(text)
    for _ in range(MOST_HOPS):
        comma = comma_before(text, end)
        if item := text[comma + 1 : end].strip(" \t"):
            yield item
        if comma < 0:
            return
        end = comma


def _comma_before(text: str, end: int) -> int:
    """The place of the last comma before `end`; -1 where there is none."""
    return text.rfind(",", 0, end)


def _quoted_comma_before(text: str, end: int) -> int:
    """The same for a list whose items may hold quoted commas. Read backwards too, so that a quote which the client
    left open does not swallow what proxies have added. Looks no farther than an element may be long."""
    floor = max(0, end - LONGEST_ELEMENT - 1)
    comma = text.rfind(",", floor, end)
    while (quote := text.rfind('"', max(floor, comma + 1), end)) >= 0:
        end = _opening_before(text, quote, floor)
        if end < 0:
            return -1
        if comma > end:
            comma = text.rfind(",", floor, end)
    return comma


def _opening_before(text: str, closing: int, floor: int) -> int:
    """The place of the quote that opens what ends at `closing`; -1 where there is none from `floor` on."""
    while (opening := text.rfind('"', floor, closing)) >= 0:
        closing = opening
        while closing > floor and text[closing - 1] == "\\":
            closing -= 1
        if (opening - closing) % 2 == 0:
            return opening
    return -1


def _said(element: str) -> Hop:
    """What an element of `Forwarded` says; nothing, if it is not as RFC 7239 has it."""
    said: dict[str, str] = {}
    at = 0
    while at < len(element) <= LONGEST_ELEMENT:
        match = _PAIR.match(element, at)
        if match is None or match[1].lower() in said:
            return Hop()
        said[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        at = match.end()
    return Hop(said.get("for", ""), said.get("proto", ""), said.get("host", ""))
