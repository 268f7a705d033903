"""Who a request comes from: the peer, or whom a trusted proxy speaks for; and nothing that a client makes up."""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from service.answers import Answer
from service.client import MOST_HOPS, Proxies, canonical
from service.keys import CLIENT, Client

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48", "::ffff:172.16.0.0/108")
TRUSTED, OTHER, INNER = "10.0.0.1", "10.1.2.3", "192.0.2.7"
CLIENT_ADDRESS = "203.0.113.5"


def behind(peer: str, *headers: tuple[str, str], proxies: tuple[str, ...] = PROXIES) -> Client:
    return Proxies(proxies).behind(peer, "http", "here", CIMultiDictProxy(CIMultiDict(headers)))


def x_for(*values: str, peer: str = TRUSTED) -> str:
    return behind(peer, *[("X-Forwarded-For", value) for value in values]).address


def forwarded(*values: str, peer: str = TRUSTED) -> Client:
    return behind(peer, *[("Forwarded", value) for value in values])


# --- one canonical form


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%25", "fe80::1"),
        ("", ""),
        ("/run/client.sock", ""),
        ("nonsense", ""),
    ],
)
def test_address_has_one_form(peer: str, address: str) -> None:
    assert canonical(peer) == address
    assert behind(peer).address == address


# --- X-Forwarded-For


@pytest.mark.parametrize(
    ("peer", "values", "address"),
    [
        ("198.51.100.9", ["1.2.3.4"], "198.51.100.9"),  # not trusted: it may say what it likes
        ("2001:db8:2::1", ["1.2.3.4"], "2001:db8:2::1"),
        (TRUSTED, [], TRUSTED),
        (TRUSTED, [CLIENT_ADDRESS], CLIENT_ADDRESS),
        (TRUSTED, [f"1.2.3.4, {CLIENT_ADDRESS}"], CLIENT_ADDRESS),  # made up by the client
        (TRUSTED, [f"10.9.9.9, {CLIENT_ADDRESS}"], CLIENT_ADDRESS),  # and this too, though it looks trusted
        (TRUSTED, [f"{CLIENT_ADDRESS}, {INNER}, {OTHER}"], CLIENT_ADDRESS),
        (TRUSTED, ["1.2.3.4", f"{CLIENT_ADDRESS}, {INNER}", OTHER], CLIENT_ADDRESS),  # lines are joined in order
        (TRUSTED, [f"{INNER}, {OTHER}"], INNER),  # all are trusted: the farthest
        ("::ffff:10.0.0.1", [CLIENT_ADDRESS], CLIENT_ADDRESS),
        ("2001:DB8:1::5", [CLIENT_ADDRESS], CLIENT_ADDRESS),
        (TRUSTED, [f"{CLIENT_ADDRESS}, ::ffff:172.16.9.9"], CLIENT_ADDRESS),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 172.16.9.9"], CLIENT_ADDRESS),  # a mapped network is one of IPv4
        (TRUSTED, [f"{CLIENT_ADDRESS}:4711"], CLIENT_ADDRESS),
        (TRUSTED, ["2001:DB8::A"], "2001:db8::a"),
        (TRUSTED, ["[2001:DB8::A]"], "2001:db8::a"),
        (TRUSTED, ["[2001:DB8::A]:4711"], "2001:db8::a"),
        (TRUSTED, ["fe80::1%eth0"], "fe80::1"),
        (TRUSTED, ["::ffff:1.2.3.4"], "1.2.3.4"),
        (TRUSTED, [f"  {CLIENT_ADDRESS}\t, ,, {OTHER} , "], CLIENT_ADDRESS),
        (TRUSTED, ["unknown"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, unknown"], TRUSTED),  # nobody is known beyond it
        (TRUSTED, [f"{CLIENT_ADDRESS}, _hidden, {OTHER}"], OTHER),
        (TRUSTED, [f"{CLIENT_ADDRESS}, <script>"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 1.2.3"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 1.2.3.400"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 010.0.0.1"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 1.2.3.4:port"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, [::1"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, ::1]"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, [1.2.3.4]"], TRUSTED),
        (TRUSTED, [f"{CLIENT_ADDRESS}, 1٢.2.3.4"], TRUSTED),
        (TRUSTED, [""], TRUSTED),
        (TRUSTED, [",,"], TRUSTED),
    ],
)
def test_client_is_the_rightmost_hop_that_is_not_trusted(peer: str, values: list[str], address: str) -> None:
    assert x_for(*values, peer=peer) == address


def test_scheme_and_host_come_from_whom_the_client_spoke_to() -> None:
    def said(nodes: str, schemes: str | None, hosts: str | None, peer: str = TRUSTED) -> Client:
        pairs = [("X-Forwarded-For", nodes), ("X-Forwarded-Proto", schemes), ("X-Forwarded-Host", hosts)]
        return behind(peer, *[(name, value) for name, value in pairs if value is not None])

    assert said("1.1.1.1", "https", "api.test") == Client("1.1.1.1", "https", "api.test")
    assert said("1.1.1.1", "HTTPS", "api.test:8443") == Client("1.1.1.1", "https", "api.test:8443")
    assert said("1.1.1.1", "wss", "[2001:db8::1]:8443") == Client("1.1.1.1", "https", "[2001:db8::1]:8443")
    assert said("1.1.1.1", None, None) == Client("1.1.1.1", "http", "here")
    assert said("1.1.1.1, 10.0.0.9", "https, http", "a.test, b.test") == Client("1.1.1.1", "https", "a.test")
    assert said("1.1.1.1, 10.0.0.9", "https", "a.test") == Client("1.1.1.1", "https", "a.test")
    assert said("9.9.9.9, 1.1.1.1", "https, http", "evil.test, a.test") == Client("1.1.1.1", "http", "a.test")
    assert said("unknown", "https", "a.test") == Client(TRUSTED, "https", "a.test")
    assert said("1.1.1.1", "gopher", "a b") == Client("1.1.1.1", "http", "here")
    assert said("1.1.1.1", "https", "evil.test/path?", peer="8.8.8.8") == Client("8.8.8.8", "http", "here")
    assert behind(TRUSTED, ("X-Forwarded-Proto", "https")) == Client(TRUSTED, "https", "here")


# --- Forwarded


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=203.0.113.5"], Client("203.0.113.5", "http", "here")),
        (["For=203.0.113.5;Proto=HTTPS;Host=api.test"], Client("203.0.113.5", "https", "api.test")),
        (
            ['for="203.0.113.5:4711"; proto="https" ;host="api.test:8443"'],
            Client("203.0.113.5", "https", "api.test:8443"),
        ),
        (['for="[2001:DB8::A]:4711"'], Client("2001:db8::a", "http", "here")),
        (['for="[2001:DB8::A]"'], Client("2001:db8::a", "http", "here")),
        (['for="[2001:db8::a]:_port"'], Client("2001:db8::a", "http", "here")),
        (['for="\\1.\\2.3.4"'], Client("1.2.3.4", "http", "here")),
        (["for=1.1.1.1;proto=https, for=10.0.0.9;proto=http"], Client("1.1.1.1", "https", "here")),
        (["for=9.9.9.9", "for=1.1.1.1;proto=https", "for=10.0.0.9"], Client("1.1.1.1", "https", "here")),
        (["for=9.9.9.9;host=evil.test, for=1.1.1.1"], Client("1.1.1.1", "http", "here")),
        (["for=1.1.1.1, for=unknown;proto=https"], Client(TRUSTED, "https", "here")),
        (["for=1.1.1.1, for=_hidden"], Client(TRUSTED, "http", "here")),
        (["for=1.1.1.1, for=_hidden, for=10.0.0.9"], Client("10.0.0.9", "http", "here")),
        (["for=1.1.1.1, proto=https;by=10.0.0.1"], Client(TRUSTED, "https", "here")),
        (["for=1.1.1.1, for=2.2.2.2;for=3.3.3.3"], Client(TRUSTED, "http", "here")),
        (["for=1.1.1.1, nonsense"], Client(TRUSTED, "http", "here")),
        (["for=1.1.1.1, for=2.2.2.2; ="], Client(TRUSTED, "http", "here")),
        (['for="made, up", for=1.1.1.1'], Client("1.1.1.1", "http", "here")),
        (['for="never closed, for=9.9.9.9, for=1.1.1.1'], Client("1.1.1.1", "http", "here")),
        (['for="never closed, for="[2001:db8::a]"'], Client("2001:db8::a", "http", "here")),
        (['for=9.9.9.9, x="a\\", for=8.8.8.8, \\"b";for=1.1.1.1'], Client("1.1.1.1", "http", "here")),
        (
            ['for=1.1.1.1, x="\\\\", for=10.0.0.9'],
            Client("10.0.0.9", "http", "here"),
        ),
        ([f"for=1.1.1.1;x={'a' * 2_000}"], Client(TRUSTED, "http", "here")),
        ([""], Client(TRUSTED, "http", "here")),
    ],
)
def test_forwarded_is_read_as_the_rfc_has_it(values: list[str], client: Client) -> None:
    assert forwarded(*values) == client
    assert forwarded(*values, peer="8.8.8.8") == Client("8.8.8.8", "http", "here")


def test_forwarded_wins() -> None:
    x = (("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "x.test"))
    assert behind(TRUSTED, ("Forwarded", "for=1.1.1.1"), *x) == Client("1.1.1.1", "http", "here")
    assert behind(TRUSTED, ("Forwarded", "nonsense"), *x) == Client(TRUSTED, "http", "here")


# --- unix sockets


def test_peer_on_a_unix_socket_is_trusted_by_its_name() -> None:
    said = ("X-Forwarded-For", "1.1.1.1, 10.0.0.9")
    for peer in ("", "/run/client.sock"):
        assert behind(peer, said, proxies=("unix",)).address == "10.0.0.9"
        assert behind(peer, said, proxies=("unix", "10.0.0.0/8")).address == "1.1.1.1"
        assert behind(peer, proxies=("unix",)).address == ""
        assert behind(peer, said).address == ""
    assert behind("8.8.8.8", said, proxies=("unix",)).address == "8.8.8.8"


# --- properties

IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6)
NETWORKS = [ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8:1::/48", "172.16.0.0/12")]
TRUSTED_ADDRESSES = st.one_of(
    st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="2001:db8:1::/48"), st.just(ip_address(INNER))
)
GARBAGE = st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from(',;="\\[]:_ \t'), max_size=60)


def is_trusted(address: Any) -> bool:
    return any(address in network for network in NETWORKS)


STRANGERS = (
    st.ip_addresses().map(lambda each: getattr(each, "ipv4_mapped", None) or each).filter(lambda a: not is_trusted(a))
)


def spelled(address: Any, how: int) -> str:
    """One of the ways in which proxies write an address."""
    if address.version == 4:
        return [str(address), f"{address}:80", f"::ffff:{address}", f"[::FFFF:{address}]:80"][how % 4]
    return [str(address), address.exploded.upper(), f"[{address}]", f"[{address}]:443"][how % 4]


@given(made_up=GARBAGE, client=STRANGERS, chain=st.lists(TRUSTED_ADDRESSES, max_size=5), how=st.integers(0, 1_023))
def test_whatever_a_client_makes_up_it_is_found(made_up: str, client: Any, chain: list[Any], how: int) -> None:
    hops = [spelled(address, how >> place) for place, address in enumerate([client, *chain])]
    assert x_for(", ".join([made_up, *hops])) == str(client)
    assert x_for(made_up, *hops) == str(client)
    quoted = [f'for="{hop}";proto=https' for hop in hops]
    assert forwarded(", ".join([made_up, *quoted])) == Client(str(client), "https", "here")
    assert forwarded(made_up, *quoted) == Client(str(client), "https", "here")


@given(
    peer=GARBAGE | IPV4 | IPV6.map(str),
    lines=st.lists(GARBAGE, max_size=4),
    name=st.sampled_from(["Forwarded", "X-Forwarded-For"]),
)
@example(peer=TRUSTED, lines=['"'], name="Forwarded")
@example(peer=TRUSTED, lines=["\\" * 50 + '"'], name="Forwarded")
def test_garbage_raises_nothing_and_gives_an_address_or_none(peer: str, lines: list[str], name: str) -> None:
    for who in (peer, TRUSTED, ""):
        found = Proxies((*PROXIES, "unix")).behind(
            who, "http", "here", CIMultiDictProxy(CIMultiDict([(name, line) for line in lines]))
        )
        assert found.address == "" or str(ip_address(found.address)) == found.address
        assert "%" not in found.address
        assert found.scheme in ("http", "https")


@given(address=IPV6, zone=st.sampled_from(["", "%eth0", "%25"]))
def test_every_spelling_has_the_same_form(address: Any, zone: str) -> None:
    spellings = {address.compressed, address.exploded, address.exploded.upper(), address.compressed.upper()}
    forms = {canonical(spelling + zone) for spelling in spellings}
    assert forms == {str(address.ipv4_mapped or address)}


HOSTILE = {
    "trusted": "10.0.0.1," * 3_600,
    "strangers": "1.1.1.1," * 3_600,
    "commas": "," * 32_000,
    "quotes": '"' * 32_000,
    "backslashes": "\\" * 32_000 + '"',
    "escaped": '\\"' * 16_000 + '"',
    "quoted commas": '",' * 16_000,
    "quoted pairs": 'for="a",' * 4_000,
    "one long item": "a" * 32_000,
    "one long quoted item": 'for="' + "a" * 32_000 + '"',
    "many pairs": "a=b;" * 8_000,
    "spaces": " " * 32_000,
    "spaces and commas": " ," * 16_000,
    "colons": ":" * 32_000,
    "equals": "=" * 32_000,
    "dots": "1." * 16_000,
    "brackets": "[" * 32_000,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_cost_little(value: str) -> None:
    def cost(name: str) -> float:
        proxies = Proxies(PROXIES)
        headers = CIMultiDictProxy(CIMultiDict([(name, value), ("X-Forwarded-Proto", value)]))
        began_s = time.process_time()
        for _ in range(10):
            proxies.behind(TRUSTED, "http", "here", headers)
        return (time.process_time() - began_s) / 10

    for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host"):
        assert min(cost(name) for _ in range(3)) < 0.002


def test_a_chain_is_looked_at_so_far_and_no_farther() -> None:
    chain = [f"10.0.{place}.1" for place in range(100)]
    assert x_for(", ".join(["1.1.1.1", *chain])) == chain[-MOST_HOPS]


# --- over sockets


def tell(request: web.Request) -> Answer:
    return Answer.json(list(request[CLIENT]))


async def test_observers_are_told_of_the_client_behind_the_proxy(serving: Any, placed: Any) -> None:
    said = ["X-Forwarded-For: 9.9.9.9, 2001:DB8::A", "X-Forwarded-Proto: https", "X-Forwarded-Host: api.test"]
    async with serving(placed("/", tell), proxies=["127.0.0.0/8"]) as house:
        assert (await house.ask("/", headers=said)).body == b'["2001:db8::a","https","api.test"]'
        assert (await house.ask("/nothing", headers=said)).status == 404
        assert [exchange.remote for exchange in await house.told(2)] == ["2001:db8::a"] * 2
    for proxies in ([], ["10.0.0.0/8"], ["unix"]):
        async with serving(placed("/", tell), proxies=proxies) as house:
            assert (await house.ask("/", headers=said)).body == b'["127.0.0.1","http","test"]'
            assert [exchange.remote for exchange in await house.told(1)] == ["127.0.0.1"]


@pytest.mark.parametrize("proxies", [[], ["unix"]])
def test_unix_socket_has_no_address_but_what_its_peer_says(
    on_loop: Any, serving: Any, placed: Any, tmp_path: Path, proxies: list[str]
) -> None:
    path = os.path.relpath(tmp_path / "s")  # the length of a path to a socket is bounded

    async def scenario() -> None:
        async with serving(placed("/", tell), proxies=proxies) as house:
            server = await asyncio.get_running_loop().create_unix_server(house.front, path)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: close\r\n\r\n")
            told = (await reader.read()).rpartition(b"\r\n\r\n")[2]
            assert told == (b'["1.1.1.1","http","t"]' if proxies else b'["","http","t"]')
            writer.close()
            server.close()

    on_loop(scenario)


def test_who_is_not_trusted_costs_no_look_at_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Any:
        raise AssertionError

    monkeypatch.setattr("service.client._hops", fail)
    assert x_for("1.1.1.1", peer="8.8.8.8") == "8.8.8.8"
    with pytest.raises(AssertionError):
        x_for("1.1.1.1")
