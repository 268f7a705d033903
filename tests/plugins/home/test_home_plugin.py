"""The page at `/` over a real socket: who gets which form, what it tells whom, and that nobody writes into it."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from plugins.home import origin_of
from plugins.home.page import up_for
from service.api import CLIENT, Answer, Client, Door, Route, hookimpl
from service.errors import SettingsError
from service.testing import FakeClock, MakeService, Service

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

OPEN = {"service": {"strict": False}}
"""As in development."""

VOID = {"meta", "link", "circle", "rect", "wbr"}


class Shown(HTMLParser):
    """What a page holds, by element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.elements if tag == "a"]

    @property
    def commands(self) -> list[str]:
        return self.texts["code"]


async def read_page(service: Service, **headers: str) -> str:
    response = await service.client.get("/", headers={"Accept": BROWSER, **headers})
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return await response.text()


class Extra:
    """Routes of many kinds: a resource that can be written, one route of its own, one for operators."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterator[Route]:
            yield Route("POST", "pets", self._answer, name="pets.create", summary="Create one.")
            yield Route("GET", "pets", self._answer, name="pets.list", summary="List <i>pets</i>.")
            yield Route("OPTIONS", "pets/{id}", self._answer, name="pets.options")
            yield Route("GET", "pets/{id}", self._answer, name="pets.read")
            yield Route("DELETE", "pets/{id}", self._answer, name="pets.delete")
            yield Route("GET", "", self._answer, name="extra.index")
            yield Route("GET", "hidden", self._answer, name="extra.hidden", summary="Not for everyone.")
            yield Route("GET", "/tool", self._answer, name="extra.tool", door=Door.OPERATOR)
            yield Route("GET", "it's", self._answer, name="its.list")

        def _answer(self, request: object) -> Answer:
            return Answer.json({})


async def test_page_shows_what_runs_and_how_to_ask_for_it(demo: Service) -> None:
    shown = Shown(await read_page(demo))
    origin = f"http://127.0.0.1:{demo.port}"
    assert shown.texts["title"] == ["Pegboard · development"]
    assert shown.texts["dd"] == ["development", demo.application.state.about.version, "< 1 min"]
    assert shown.texts["h3"] == ["orders", "users"]
    assert shown.commands == [
        f"curl '{origin}/api/v1/orders?limit=3'",
        f"curl '{origin}/api/v1/users?limit=3'",
        f"curl {origin}/",
    ]
    assert shown.links == [
        "/api/v1/orders",
        "/api/v1/users",
        "/health",
        "/health/live",
        "/health/ready",
        "/api/v1",
    ]
    assert {"database", "resources", "health", "home", "logs"} <= set(shown.texts["li"])


async def test_every_link_and_command_of_the_page_is_answered(demo: Service) -> None:
    shown = Shown(await read_page(demo))
    asked = [shlex.split(command)[1] for command in shown.commands]
    origin = f"http://127.0.0.1:{demo.port}"
    for path in [*shown.links, *[url.removeprefix(origin) for url in asked]]:
        assert path is not None
        assert (await demo.client.get(path)).status in (200, 503)  # /health/ready, before its first probe has ended


async def test_program_gets_one_small_body_with_links(demo: Service) -> None:
    response = await demo.client.get("/", headers={"Accept": "*/*"})
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    body = await response.json()
    assert list(body) == ["name", "version", "environment", "plugins", "startedAt", "links"]
    assert (body["name"], body["environment"]) == ("Pegboard", "development")
    assert body["links"][0] == {"name": "resources.index", "href": "/api/v1", "summary": "List what there is."}
    assert [link["name"] for link in body["links"]] == [
        "resources.index",
        "orders.list",
        "users.list",
        "health.read",
        "health.live",
        "health.ready",
    ]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html;q=0.4, application/json;q=0.3", "text/html; charset=utf-8"),
        ("text/html;q=0.3, application/json;q=0.4", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("application/json", "application/json"),
        ("image/png", "application/json"),
        ("", "application/json"),
    ],
)
async def test_form_is_the_one_that_the_client_prefers(
    make_service: MakeService, accept: str, content_type: str
) -> None:
    service = await make_service(["home"], OPEN)
    for method in ("GET", "HEAD"):
        response = await service.client.request(method, "/", headers={"Accept": accept})
        assert (response.status, response.headers["Content-Type"]) == (200, content_type)
        assert response.headers["Vary"] == "Accept"
        assert response.headers["Cache-Control"] == "no-store"
        assert bool(await response.read()) is (method == "GET")
        assert int(response.headers["Content-Length"]) > 0


async def test_policy_allows_what_is_in_the_page_and_no_more(make_service: MakeService) -> None:
    service = await make_service(["home", Extra], OPEN)
    response = await service.client.get("/", headers={"Accept": BROWSER})
    html = await response.text()
    style, script = (
        b64encode(sha256(re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[0].encode()).digest()).decode()
        for tag in ("style", "script")
    )
    assert response.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{style}'",
        f"script-src 'sha256-{script}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    for tag, attributes in Shown(html).elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on") or name == "src"], tag
        if tag == "link":
            assert str(attributes["href"]).startswith("data:")


async def test_page_is_made_for_people_who_do_not_see_it(make_service: MakeService) -> None:
    service = await make_service(["home", "health", Extra], OPEN)
    shown = Shown(await read_page(service))
    by_tag: dict[str, list[dict[str, str | None]]] = {}
    for tag, attributes in shown.elements:
        by_tag.setdefault(tag, []).append(attributes)
    assert by_tag["html"][0]["lang"] == "en"
    assert len(by_tag["h1"]) == len(by_tag["main"]) == 1
    headings = {attributes["id"] for attributes in by_tag["h2"]}
    assert {attributes["aria-labelledby"] for attributes in by_tag["section"]} == headings
    names = [attributes["aria-label"] for attributes in by_tag["button"]]
    assert names == ["Copy the command for /api/v1/pets", "Copy the command for /api/v1/it's"]
    assert all("hidden" in attributes for attributes in by_tag["button"])  # of no use without the script
    assert [attributes for attributes in by_tag["p"] if attributes.get("role") == "status"]


async def test_resource_shows_its_methods_and_what_is_below_it(make_service: MakeService) -> None:
    service = await make_service(["home", Extra], OPEN)
    html = await read_page(service)
    shown = Shown(html)
    assert shown.texts["h3"] == ["pets", "its"]
    pets = html.partition("<article>")[2].partition("</article>")[0]
    assert re.findall(r'class="method">([A-Z ]+)<', pets) == ["GET POST", "GET DELETE"]
    assert re.findall(r'class="path"[^>]*>([^<]+)<', pets) == ["/api/v1/pets", "/api/v1/pets/{id}"]
    assert shown.links == ["/api/v1/pets", "/api/v1/it's", "/api/v1", "/api/v1/hidden"]


async def test_words_and_paths_of_others_stay_words_and_paths(make_service: MakeService) -> None:
    service = await make_service(["home", Extra], OPEN)
    html = await read_page(service)
    assert "<i>" not in html
    assert "List &lt;i&gt;pets&lt;/i&gt;." in html
    command = Shown(html).commands[1]
    assert shlex.split(command) == ["curl", f"http://127.0.0.1:{service.port}/api/v1/it's?limit=3"]


@pytest.mark.parametrize(
    "host",
    ['x"><script>alert(1)</script>', "$(id)", "a'b", "a b", "ann@evil.example", "evil.example/x", "a?b", "ü.example"],
)
async def test_hostile_host_is_not_repeated(make_service: MakeService, host: str) -> None:
    service = await make_service(["home"])
    response = await service.client.get("/", headers={"Accept": BROWSER, "Host": host})
    html = await response.text()
    assert host not in html
    assert response.status == 400 or Shown(html).commands == ["curl http://localhost/"]


@pytest.mark.parametrize("host", ["api.example.com", "api.example.com:8443", "[::1]:3000", "my_service", "10.0.0.1"])
async def test_host_that_the_client_came_to_is_where_commands_go(make_service: MakeService, host: str) -> None:
    service = await make_service(["home"])
    commands = Shown(await read_page(service, Host=host)).commands
    assert [shlex.split(command) for command in commands] == [["curl", f"http://{host}/"]]


def test_origin_has_no_scheme_but_http_and_https() -> None:
    assert origin_of("https", "api.example.com") == "https://api.example.com"
    assert origin_of("javascript", "api.example.com") == "http://api.example.com"
    assert origin_of("http", "") == "http://localhost"


async def test_strict_page_tells_no_more_than_index_and_health_do(demo_strict: Service) -> None:
    facts = (
        demo_strict.application.state.about.version,
        "development",
        "Pegboard",
        "database",
        "logs",
        "spare",
        "secrets",
        "export",
    )
    body = await (await demo_strict.client.get("/")).json()
    assert list(body) == ["links"]
    index = await (await demo_strict.client.get("/api/v1")).json()
    told = {"/api/v1", *[resource["path"] for resource in index["data"]], "/health", "/health/live", "/health/ready"}
    assert {link["href"] for link in body["links"]} == told
    html = await read_page(demo_strict)
    words = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html, flags=re.DOTALL)
    assert [fact for fact in facts if fact in words] == []
    shown = Shown(html)
    assert set(shown.links) == told
    items = {resource["itemPath"] for resource in index["data"]}
    children = {child for resource in index["data"] for child in resource["children"]}
    assert {text for text in shown.texts["span"] if text.startswith("/")} == items | children
    assert "dl" not in shown.texts


@pytest.fixture
async def demo_strict(make_service: MakeService, shipped: dict[str, Any], demo_url: str) -> Service:
    """The service as shipped, strict, with routes that no index tells of."""

    class Spare:
        class Plugin:
            @hookimpl
            def routes(self) -> Iterator[Route]:
                for path, name in (("hidden", "read"), ("users/export", "export"), ("secrets", "list")):
                    yield Route("GET", path, lambda request: Answer.json({}), name=f"spare.{name}")

    shipped["env"]["development"]["service"]["strict"] = True
    return await make_service([Spare], settings=shipped, environ={"DATABASE_URL": demo_url, "JWT_SECRET": "s" * 64})


async def test_page_for_operators_is_behind_their_door_and_tells_all(make_service: MakeService) -> None:
    settings = {"service": {"operator": {"port": 0}}, "plugins": {"home": {"door": "operator"}}}
    service = await make_service(["home", Extra], settings)
    assert (await service.client.get("/", headers={"Accept": BROWSER})).status == 404
    plan = next(plan for plan in service.application.plans if plan.route.name == "home.read")
    assert plan.route.door is Door.OPERATOR
    page = Shown(await answered(plan.route.handler, {"Accept": BROWSER}))
    assert page.texts["dt"] == ["Environment", "Version", "Up for"]
    assert "/tool" in page.links
    assert any("say where clients come: url = " in sentence for sentence in service.said)


async def answered(handler: Any, headers: dict[str, str]) -> str:
    """What a handler gives whose listener the client of these tests does not reach."""
    request = make_mocked_request("GET", "/", headers=headers)
    request[CLIENT] = Client("127.0.0.1", "http", "127.0.0.1")
    return str(handler(request).body.decode())


async def test_page_for_operators_is_not_served_where_nothing_guards_it(make_service: MakeService) -> None:
    service = await make_service(["home"], {"plugins": {"home": {"door": "operator"}}})
    assert (await service.client.get("/", headers={"Accept": BROWSER})).status == 404
    assert any(sentence.startswith("GET / (home) is for operators") for sentence in service.said)


async def test_page_alone_says_that_there_is_nothing(make_service: MakeService) -> None:
    service = await make_service(["home"], OPEN)
    assert "no plugin that is on serves lists" in await read_page(service)
    assert (await (await service.client.get("/")).json())["links"] == []


async def test_paths_are_those_that_are_served(make_service: MakeService) -> None:
    service = await make_service(["home", Extra], {"service": {"api_root": "/data", "strict": False}})
    assert Shown(await read_page(service)).links[:2] == ["/data/v1/pets", "/data/v1/it's"]


async def test_url_of_the_settings_is_where_links_and_commands_go(make_service: MakeService) -> None:
    settings = OPEN | {"plugins": {"home": {"url": "https://api.example.com/shop/", "door": "operator"}}}
    service = await make_service(["home", Extra], settings)
    shown = Shown(await read_page(service, Host="10.0.0.1"))
    assert shown.commands[0] == "curl 'https://api.example.com/shop/api/v1/pets?limit=3'"
    assert shown.links[0] == "https://api.example.com/shop/api/v1/pets"
    assert shown.links[-1] == "/tool"  # operators have a door of their own
    links = (await (await service.client.get("/")).json())["links"]
    assert links[0]["href"] == "https://api.example.com/shop/api/v1"


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://x", "https://ann:pw@x", "https://x/?q", "https://x/#a", "https://x/'", "https://"]
)
async def test_url_that_is_none_is_refused(make_service: MakeService, url: str) -> None:
    with pytest.raises(SettingsError, match="is absolute"):
        await make_service(["home"], {"plugins": {"home": {"url": url}}})


async def test_page_says_how_long_it_is_up(make_service: MakeService, clock: FakeClock) -> None:
    service = await make_service(["home"], OPEN, clock=clock)
    assert (await (await service.client.get("/")).json())["startedAt"] == "2026-01-01T00:00:00.000Z"
    assert "<dd>&lt; 1 min</dd>" in await read_page(service)
    clock.advance(3 * 3_600 + 12 * 60)
    assert "<dd>3 h 12 min</dd>" in await read_page(service)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.9, "< 1 min"), (60.0, "1 min"), (3_600.0, "1 h 0 min"), (86_399.0, "23 h 59 min"), (90_000.0, "1 d 1 h")],
)
def test_uptime_is_told_in_the_units_that_say_most(seconds: float, text: str) -> None:
    assert up_for(seconds) == text
