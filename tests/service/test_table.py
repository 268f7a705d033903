"""`Table`: which plan serves what; that aiohttp's router agrees; what is refused at start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from service.answers import Answer
from service.client import client_of
from service.errors import PluginError
from service.keys import ALLOWED, REQUEST_ID, VERSION
from service.parts import Check, Finish, MountedRoute
from service.pipeline import Plan
from service.run import SystemClock
from service.slots import Door, Slot
from service.table import UNMATCHED, Table, lost, malformed, pseudo_route


def plan(route: MountedRoute) -> Plan:
    return Plan(
        route,
        (),
        observers=(),
        clock=SystemClock(),
        handler_s=1.0,
        body_limit=1,
        client_of=client_of(()),
        closing=lambda: False,
    )


def route(method: str, path: str, *, name: str = "", plugin: str = "plugin", version: str = "v1") -> MountedRoute:
    return MountedRoute(
        method, path, name or f"{method} {path}", plugin, version, Door.API, lambda request: Answer(200, b"")
    )


def table(routes: Iterable[MountedRoute]) -> tuple[Table, web.Application]:
    app = web.Application()
    made = Table(
        app,
        [plan(each) for each in routes],
        unmatched=plan(pseudo_route(lost)),
        malformed=plan(pseudo_route(malformed)),
    )
    app.freeze()
    return made, app


def found(made: Table, method: str, path: str) -> tuple[str | None, dict[str, str], set[str]]:
    entry, values, allowed = made.find(method, path)
    if entry is None:
        return None, {}, set(allowed)
    return entry.plan.name, dict(zip(entry.names, values, strict=True)), set()


# --- what is found


def test_plain_segments_beat_placeholders_and_the_search_backtracks() -> None:
    made, _ = table(
        route("GET", path)
        for path in ("/a/{x}/c", "/a/b/d", "/{y}/b/e", "/a/b", "/a/{x}", "/", "/{any}", "/t/", "/t/{id}/")
    )
    for path, name in {
        "/": "/",
        "/a": "/{any}",
        "/a/b": "/a/b",
        "/a/z": "/a/{x}",
        "/a/b/d": "/a/b/d",
        "/a/b/c": "/a/{x}/c",
        "/a/b/e": "/{y}/b/e",
        "/t/": "/t/",
        "/t/7/": "/t/{id}/",
    }.items():
        assert found(made, "GET", path)[0] == f"GET {name}", path
    assert found(made, "GET", "/a/b/e")[1] == {"y": "a"}
    for path in ("", "//", "/a/", "/a//c", "/a/b/d/", "/t/7", "//a", "/a/b/c/d", "*", "a"):
        assert found(made, "GET", path) == (None, {}, set()), path


def test_a_method_that_the_plain_place_lacks_is_looked_for_behind_it() -> None:
    made, _ = table([route("POST", "/users/export"), route("GET", "/users/{id}"), route("DELETE", "/users/{key}")])
    assert found(made, "GET", "/users/export") == ("GET /users/{id}", {"id": "export"}, set())
    assert found(made, "DELETE", "/users/7") == ("DELETE /users/{key}", {"key": "7"}, set())
    assert found(made, "PUT", "/users/export")[2] == {"POST", "GET", "HEAD", "DELETE"}
    assert found(made, "PUT", "/users/7")[2] == {"GET", "HEAD", "DELETE"}


def test_head_falls_back_to_get_unless_it_has_a_route() -> None:
    for order in ((0, 1), (1, 0)):
        pair = [route("GET", "/a"), route("HEAD", "/a")]
        made, _ = table([pair[order[0]], pair[order[1]], route("GET", "/b"), route("POST", "/c")])
        assert found(made, "HEAD", "/a")[0] == "HEAD /a"
        assert found(made, "HEAD", "/b")[0] == "GET /b"
        assert found(made, "HEAD", "/c") == (None, {}, {"POST"})
        assert [each.name for each in made.plans()].count("GET /b") == 1


SEGMENTS = st.sampled_from(["a", "b", "c", "{x}", "{y}", ""])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
METHODS = st.sampled_from(["GET", "POST", "HEAD", "DELETE"])
ASKED = st.lists(st.sampled_from(["a", "b", "c", "d", "", "%2F", "a%25", "%20", "%C3%A9", ".", "%00"]), max_size=4)


@given(routes=st.lists(st.tuples(METHODS, PATHS), max_size=12), asked=ASKED, method=METHODS)
def test_our_table_and_aiohttps_router_agree(routes: list[tuple[str, str]], asked: list[str], method: str) -> None:
    mounted: dict[tuple[str, str], MountedRoute] = {}
    for verb, path in routes:
        parts = path.split("/")
        if len({part for part in parts if part.startswith("{")}) < sum(part.startswith("{") for part in parts):
            continue
        shape = "/".join("{}" if part.startswith("{") else part for part in parts)
        mounted.setdefault((verb, shape), route(verb, path))
    made, app = table(mounted.values())
    target = "/" + "/".join(asked)
    request = make_mocked_request(method, "/").clone(rel_url=URL.build(path=target, encoded=True))  # as the parser does
    match = asyncio.run(app.router.resolve(request))
    name, values, allowed = found(made, method, request.rel_url.path_safe)
    ours = [each for each in made.plans() if each.name == name]
    handler = getattr(match.handler, "__self__", None)
    if isinstance(handler, Plan):
        assert [handler] == ours
        entry, raw, _ = made.find(method, request.rel_url.path_safe)
        assert entry is not None
        assert dict(match) == {
            key: value.replace("%2F", "/").replace("%25", "%") for key, value in zip(entry.names, raw, strict=True)
        }
    else:
        assert (name, values) == (None, {})
        assert handler is made
    if name is None and allowed:
        assert method not in allowed


def test_a_placeholder_takes_braces_where_aiohttps_router_does_not() -> None:
    made, app = table([route("GET", "/tags/{name}")])
    request = make_mocked_request("GET", "/tags/%7Bx%7D")
    assert found(made, "GET", request.rel_url.path_safe)[1] == {"name": "{x}"}
    match = asyncio.run(app.router.resolve(request))
    assert match.handler.__self__ is made  # type: ignore[union-attr] # and it looks the path up again


# --- what is refused


@pytest.mark.parametrize("path", ["/users/{id}.json", "/a{id}", "/{a}{b}", r"/{id:\d+}", "/{", "/x}", "/{1}", "/{a b}"])
def test_a_placeholder_mixed_with_text_is_refused_by_name(path: str) -> None:
    with pytest.raises(PluginError, match=r"plugin tags: route tags.read has the path .*users/\{id\}|holds no query"):
        table([route("GET", path, name="tags.read", plugin="tags")])


@pytest.mark.parametrize("path", ["", "users", "/a?b", "/a#b", "/a b", "/a\n"])
def test_a_path_that_no_request_can_have_is_refused(path: str) -> None:
    with pytest.raises(PluginError, match=r"plugin tags: route tags.read has the path .* begins with a slash"):
        table([route("GET", path, name="tags.read", plugin="tags")])


@pytest.mark.parametrize("method", ["get", "Get", "", "*", "G T"])
def test_a_method_that_no_request_can_have_is_refused(method: str) -> None:
    with pytest.raises(PluginError, match=r"plugin tags: route tags.read has the method .* in capitals"):
        table([route(method, "/", name="tags.read", plugin="tags")])


def test_two_placeholders_of_one_name_are_refused() -> None:
    with pytest.raises(PluginError, match="two placeholders have one name; rename one"):
        table([route("GET", "/a/{id}/b/{id}")])


@pytest.mark.parametrize(("one", "other"), [("/a/{x}", "/a/{y}"), ("/a", "/a"), ("/caf%C3%A9", "/café"), ("/", "/")])
def test_two_routes_at_one_place_stop_the_start_and_both_are_named(one: str, other: str) -> None:
    with pytest.raises(PluginError) as caught:
        table([route("GET", one, name="one", plugin="first"), route("GET", other, name="two", plugin="second")])
    said = str(caught.value)
    assert said.startswith(f"plugins first and second both serve GET {other} (routes one and two); ")
    assert said.endswith(".")
    assert "\n" not in said


# --- aiohttp's register


@pytest.mark.parametrize(
    "name",
    [
        "users.list",
        "order-items.list",
        "class",
        "for.import",
        "größe.lesen",
        "a b",
        "7",
        "_x",
        "a..b",
        "-",
        "{}",
        "/",
        "a:b",
    ],
)
def test_odd_names_register_and_build_urls(name: str) -> None:
    made, app = table(
        [route("GET", "/x/{id}", name=name), route("GET", "/y", name=name, version=""), route("GET", "/z", name="z")]
    )
    urls = [resource.url_for(**({"id": "7"} if "{" in resource.canonical else {})) for resource in app.router.values()]
    assert {str(url) for url in urls} == {"/x/7", "/y", "/z"}
    assert made.plan(name) is not None


def test_plain_names_are_registered_as_they_are() -> None:
    _, app = table([route("GET", "/api/v1/users/{id}", name="users.read")])
    assert app.router["v1:users.read"].url_for(id="7") == URL("/api/v1/users/7")


@given(st.lists(st.tuples(st.text("ab_-.:2f 5ü", max_size=4), st.sampled_from(["", "v1", "v2", "_"])), unique=True))
def test_no_two_routes_get_one_name(names: list[tuple[str, str]]) -> None:
    _, app = table(
        route("GET", f"/{number}", name=name or "x", version=version)
        for number, (name, version) in enumerate(names)
        if name
    )
    assert len(app.router) == sum(1 for name, _ in names if name)


# --- over the wire


async def test_misses_are_answered_in_the_form_and_pass_the_first_slots(serving: Any, placed: Any) -> None:
    ran: list[Slot] = []
    checks = [Check(slot, lambda request, slot=slot: ran.append(slot)) for slot in Slot]
    finish = Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Finished", "1"))
    async with serving(
        placed("/a", lambda request: Answer(), method="GET", name="a.read"),
        placed("/a", lambda request: Answer(), method="PUT", name="a.write"),
        around_misses=[*checks, finish],
    ) as house:
        missing = await house.ask("/nothing?x=1")
        wrong = await house.ask("/a", method="DELETE")
        options = await house.ask("/a", method="OPTIONS")
        nowhere = await house.ask("/nothing", method="OPTIONS")
        exchanges = await house.told(4)
    assert (missing.status, missing.error["code"]) == (404, "NOT_FOUND")
    assert (wrong.status, wrong.error["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.header("Allow") == options.header("Allow") == "GET, HEAD, OPTIONS, PUT"
    assert (options.status, options.body, nowhere.status) == (204, b"", 404)
    assert ran == [Slot.RECEIVE, Slot.NEGOTIATE, Slot.ADMIT] * 4
    assert {reply.header("X-Finished") for reply in (missing, wrong, options, nowhere)} == {"1"}
    assert {exchange.route for exchange in exchanges} == {exchange.template for exchange in exchanges} == {UNMATCHED}
    assert [(each.method, each.target, each.status, each.error_code) for each in exchanges] == [
        ("GET", "/nothing?x=1", 404, "NOT_FOUND"),
        ("DELETE", "/a", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/a", 204, None),
        ("OPTIONS", "/nothing", 404, "NOT_FOUND"),
    ]


async def test_steps_of_a_miss_see_the_methods_of_the_path(serving: Any, placed: Any) -> None:
    seen: list[Any] = []
    around = [Check(Slot.RECEIVE, lambda request: seen.append((request.get(ALLOWED), request[VERSION])))]
    async with serving(placed("/a", lambda request: Answer(), method="POST"), around_misses=around) as house:
        await house.ask("/a")
        await house.ask("/b")
    assert seen == [({"POST", "OPTIONS"}, ""), (None, "")]


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/u/7", "7"),
        ("/u/a%2Fb", "a/b"),
        ("/u/a%2fb", "a/b"),
        ("/u/100%25", "100%"),
        ("/u/%252F", "%2F"),
        ("/u/%00", "\0"),
        ("/u/%0A", "\n"),
        ("/u/%FF", "%FF"),
        ("/u/%C3%A9", "é"),
        ("/u/a%20b+c", "a b+c"),
        ("/u/%7Bid%7D", "{id}"),
        ("/u/.", "."),
        ("/u/..", ".."),
        ("/u/%2E%2E", ".."),
        ("/u/a;b=c,d", "a;b=c,d"),
        ("/u/7?x=/y", "7"),
        ("http://other.example/u/7", "7"),
        ("http://other.example:99/u/a%2Fb?x", "a/b"),
        ("/u/", None),
        ("/u//", None),
        ("//u/7", None),
        ("/./u/7", None),
        ("/u/7/", None),
        ("/u/a/../b", None),
        ("http://other.example", None),
    ],
)
async def test_placeholders_of_every_target(serving: Any, placed: Any, target: str, value: str | None) -> None:
    def handler(request: web.Request) -> Answer:
        return Answer.json(request.match_info["id"])

    async with serving(placed("/u/{id}", handler)) as house:
        reply = await house.ask(target)
        (exchange,) = await house.told()
    if value is None:
        assert (reply.status, exchange.route) == (404, UNMATCHED)
        assert reply.error["code"] == "NOT_FOUND"
    else:
        assert Answer.json(value).body == reply.body
        assert exchange.template == "/u/{id}"
    assert exchange.target.encode("utf-8", "surrogateescape") == target.encode()


@pytest.mark.parametrize("start", ["OPTIONS *", "CONNECT other.example:443", "GET other.example:443", "GET u"])
async def test_targets_that_are_no_path_are_answered(serving: Any, placed: Any, start: str) -> None:
    async with serving(placed("/", lambda request: Answer())) as house:
        peer = await house.connect()
        peer.write(f"{start} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        reply = await peer.reply()
        assert reply.status in (400, 404)
        assert reply.error
        await house.told()


async def test_handlers_have_match_app_and_router(serving: Any, placed: Any) -> None:
    def handler(request: web.Request) -> Answer:
        assert request.match_info.route.name == "v1:users.read"
        assert request.config_dict is not None
        url = request.app.router["v1:users.read"].url_for(id=request.match_info["id"])
        return Answer.json([str(url), sorted(request.match_info), request.match_info.get_info()["formatter"]])

    async with serving(placed("/users/{id}", handler, name="users.read")) as house:
        reply = await house.ask("/users/a%20b")
    assert reply.body == b'["/users/a%20b",["id"],"/users/{id}"]'


async def test_a_foreign_aiohttp_server_can_run_the_application(serving: Any, placed: Any, aiohttp_client: Any) -> None:
    def handler(request: web.Request) -> Answer:
        return Answer.json([request.match_info["id"], request[REQUEST_ID]])

    async with serving(
        placed("/u/{id}", handler), placed("/response", lambda request: web.Response(text="aiohttp's"))
    ) as house:
        client = await aiohttp_client(house.app)
        assert await (await client.get("/u/7", headers={"X-Request-Id": "abcdefgh"})).json() == ["7", "abcdefgh"]
        assert await (await client.get("/response")).text() == "aiohttp's"
        missing = await client.get("/nothing")
        assert (missing.status, (await missing.json())["error"]["code"]) == (404, "NOT_FOUND")
        assert (await client.put("/u/7")).headers["Allow"] == "GET, HEAD, OPTIONS"
        await client.close()
        await house.told(4)
