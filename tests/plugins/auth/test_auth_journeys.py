"""Who may ask what: whole requests over a real socket."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from service.api import (
    AUTHENTICATOR,
    Answer,
    Authenticator,
    Door,
    InvalidToken,
    PluginError,
    Ports,
    Principal,
    Route,
    Unauthenticated,
    hookimpl,
)
from service.errors import SettingsError
from service.testing import TOKEN_SECRET, FakeClock, make_token

BEARER = 'Bearer realm="api"'
ROUTES = ("/api/v1/who", "/api/v1/who/open", "/api/v1/who/maybe", "/api/v1/who/known", "/console", "/alive")


async def outcomes(forge: Any, service: Any, token: str | None) -> list[tuple[int, str]]:
    return [await forge.asked(service, path, token) for path in ROUTES]


# --- required, optional, none


async def test_required_lets_in_whoever_says_who_they_are(serve: Any, forge: Any) -> None:
    service = await serve()
    assert await outcomes(forge, service, forge.signed()) == [
        (200, "ada"), (200, None), (200, "ada"), (200, "ada"), (403, "FORBIDDEN"), (200, None),
    ]  # fmt: skip
    assert await outcomes(forge, service, None) == [
        (401, "NO_TOKEN"), (200, None), (200, None), (401, "NO_TOKEN"), (401, "NO_TOKEN"), (200, None),
    ]  # fmt: skip
    assert await outcomes(forge, service, "nonsense") == [
        (401, "INVALID_TOKEN"), (200, None), (401, "INVALID_TOKEN"), (401, "INVALID_TOKEN"),
        (401, "INVALID_TOKEN"), (200, None),
    ]  # fmt: skip


@pytest.mark.parametrize(("default", "bad"), [("optional", (401, "INVALID_TOKEN")), ("none", (200, None))])
async def test_default_is_for_routes_that_say_nothing(serve: Any, forge: Any, default: str, bad: Any) -> None:
    service = await serve({"default": default})
    assert await forge.asked(service) == (200, None)
    assert await forge.asked(service, token="nonsense") == bad
    assert await forge.asked(service, token=forge.signed()) == (200, "ada" if default == "optional" else None)
    assert await forge.asked(service, "/api/v1/who/known") == (401, "NO_TOKEN")
    assert await forge.asked(service, "/console") == (401, "NO_TOKEN")


async def test_operator_has_the_last_word_on_routes(serve: Any, forge: Any) -> None:
    service = await serve(routes={"who.*": {"auth": "required"}, "who.maybe": {"auth": "none"}})
    assert await forge.asked(service, "/api/v1/who/open") == (401, "NO_TOKEN")
    assert await forge.asked(service, "/api/v1/who/maybe", "nonsense") == (200, None)


async def test_token_says_subject_roles_scopes_and_claims(serve: Any, forge: Any) -> None:
    service = await serve()
    payload = forge.claims(role=["user", "editor"], scope="read  write", team="x")
    async with service.client.get("/api/v1/who", headers={"Authorization": f"bEARER {forge.signed(payload)}"}) as told:
        assert await told.json() == {
            "subject": "ada",
            "roles": ["editor", "user"],
            "scopes": ["read", "write"],
            "scheme": "bearer",
            "claims": payload,
        }
    listed = forge.signed(forge.claims(role=..., scp=["read"]))
    async with service.client.get("/api/v1/who", headers={"Authorization": f"Bearer {listed}"}) as told:
        body = await told.json()
        assert (body["roles"], body["scopes"]) == ([], ["read"])


async def test_role_claim_is_the_one_of_the_settings(serve: Any, forge: Any) -> None:
    service = await serve({"role_claim": "groups", "operator_roles": ["root", "wheel"]})
    assert await forge.asked(service, "/console", forge.signed(forge.claims(role="root"))) == (403, "FORBIDDEN")
    token = forge.signed(forge.claims(groups=["wheel", "staff"]))
    assert await forge.asked(service, "/console", token) == (200, "ada")


# --- what refusals look like


@pytest.mark.parametrize(
    ("header", "code", "message", "challenge"),
    [
        (None, "NO_TOKEN", "Say who you are: send Authorization: Bearer TOKEN.", BEARER),
        (
            "Bearer x",
            "INVALID_TOKEN",
            "The token is not valid.",
            f'{BEARER}, error="invalid_token", error_description="The token is not valid"',
        ),
        (
            "Basic YWRhOng=",
            "INVALID_TOKEN",
            "The Authorization header has no scheme that is known here; send Authorization: Bearer TOKEN.",
            BEARER,
        ),
    ],
)
async def test_401_says_how_to_come_in(serve: Any, header: str | None, code: str, message: str, challenge: str) -> None:
    service = await serve()
    headers = {} if header is None else {"Authorization": header}
    async with service.client.get("/api/v1/who", headers=headers) as refused:
        body = await refused.json()
        assert (refused.status, body["error"]["code"], body["error"]["message"]) == (401, code, message)
        assert refused.headers.getall("WWW-Authenticate") == [challenge]


async def test_expired_token_is_told_apart_so_that_clients_get_a_new_one(serve: Any, forge: Any) -> None:
    service = await serve()
    token = forge.signed(forge.claims(exp=forge.now_s - 1))
    async with service.client.get("/api/v1/who", headers={"Authorization": f"Bearer {token}"}) as refused:
        body = await refused.json()
        assert (refused.status, body["error"]["code"]) == (401, "TOKEN_EXPIRED")
        assert body["error"]["message"] == "The token has expired."
        assert refused.headers["WWW-Authenticate"].endswith('error_description="The token has expired"')


async def test_403_says_what_was_needed(serve: Any, forge: Any) -> None:
    service = await serve({"operator_roles": ["admin", "root"]})
    async with service.client.get("/console", headers={"Authorization": f"Bearer {forge.signed()}"}) as refused:
        body = await refused.json()
        assert (refused.status, body["error"]["code"]) == (403, "FORBIDDEN")
        assert body["error"]["message"] == "This is for principals with one of the roles admin and root."


async def test_refusal_comes_before_the_body_is_read(serve: Any) -> None:
    """A body that never arrives is not waited for."""
    service = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST /api/v1/who HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    head = await asyncio.wait_for(reader.readline(), 5)
    assert head == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()
    await writer.wait_closed()


async def test_two_authorization_headers_are_refused_each_way(serve: Any, forge: Any) -> None:
    service = await serve({"default": "optional"})
    good = f"Bearer {forge.signed()}"
    for pair in ((good, good), (good, "Basic x"), ("Basic x", good), (f"{good}, {good}",), (f"{good},",)):
        headers = [("Authorization", value) for value in pair]
        async with service.client.get("/api/v1/who", headers=headers) as refused:
            assert refused.status == 401, pair
            assert (await refused.json())["error"]["code"] == "INVALID_TOKEN"


async def test_misses_and_probes_ask_nobody(serve: Any, forge: Any) -> None:
    service = await serve()
    assert await forge.asked(service, "/no/such/path", "nonsense") == (404, "NOT_FOUND")
    assert await forge.asked(service, "/alive", "nonsense") == (200, None)


# --- operators' routes


async def test_operators_come_in_on_the_main_address_with_a_role(serve: Any, forge: Any) -> None:
    service = await serve()
    assert await forge.asked(service, "/console", forge.signed(forge.claims(role="admin"))) == (200, "ada")
    assert (
        "Operators' routes are on the main address, where auth lets in principals with the role admin." in service.said
    )


@pytest.mark.parametrize(("need", "status"), [(None, 200), ("none", 200), ("optional", 200), ("required", 401)])
async def test_operators_routes_with_a_listener_of_their_own_are_left_to_it(
    serve: Any, need: str | None, status: int
) -> None:
    routes = {"who.console": {"auth": need}} if need else {}
    service = await serve(service={"operator": {"port": 0}}, routes=routes)
    assert not any("main address" in sentence for sentence in service.said)
    assert (await service.client.get("/console")).status == 404
    front = service.application.front("operator")
    async with await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/console") as told:
            assert told.status == status


@pytest.mark.parametrize("need", ["optional", "none"])
async def test_operators_routes_are_opened_to_nobody_when_strict(serve: Any, forge: Any, need: str) -> None:
    with pytest.raises(PluginError, match=r"the route who\.console is for operators.*operator = \{ port = 3001 \}"):
        await serve(routes={"who.console": {"auth": need}})
    tolerant = await serve(routes={"who.console": {"auth": need}}, service={"strict": False})
    assert await forge.asked(tolerant, "/console") == (200, None)


async def test_without_auth_operators_routes_are_still_not_served_when_strict(make_service: Any) -> None:
    class Console:
        class Plugin:
            @hookimpl
            def routes(self) -> Iterable[Route]:
                yield Route("GET", "/console", lambda request: Answer.json({}), name="console", door=Door.OPERATOR)

    service = await make_service([Console])
    assert (await service.client.get("/console")).status == 404


# --- schemes of other plugins


class Badges:
    """A scheme that knows its people by a header, at once or after a while."""

    class Plugin:
        provides = (AUTHENTICATOR,)
        scheme = "badge"
        challenge = 'Badge realm="api"'

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            mine: Authenticator = self
            ports.provide(AUTHENTICATOR, mine)
            yield

        def recognises(self, request: Any) -> bool:
            return "X-Badge" in request.headers

        def authenticate(self, request: Any) -> Principal | Awaitable[Principal]:
            name, _, how = request.headers["X-Badge"].partition("/")
            return self._later(name) if how == "later" else self._known(name)

        def _known(self, name: str) -> Principal:
            if name == "nobody":
                raise Unauthenticated("This badge is of nobody.")
            if name == "stolen":
                raise InvalidToken("This badge is not valid.", headers={"WWW-Authenticate": "Badge stolen"})
            return Principal(name, frozenset({"admin"}), scheme="badge")

        async def _later(self, name: str) -> Principal:
            return self._known(name)


async def test_schemes_of_other_plugins_compose(serve: Any, forge: Any) -> None:
    service = await serve({}, Badges)
    for how in ("", "/later"):
        assert await forge.asked(service, **{"X-Badge": f"grace{how}"}) == (200, "grace")
        assert await forge.asked(service, "/console", **{"X-Badge": f"grace{how}"}) == (200, "grace")
        assert await forge.asked(service, **{"X-Badge": f"nobody{how}"}) == (401, "NO_TOKEN")
        assert await forge.asked(service, **{"X-Badge": f"stolen{how}"}) == (401, "INVALID_TOKEN")
    assert await forge.asked(service, token=forge.signed(), **{"X-Badge": "grace"}) == (200, "ada")
    assert await forge.asked(service, token="x", **{"X-Badge": "grace"}) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(
    ("badge", "challenge"),
    [
        (None, 'Bearer realm="api", Badge realm="api"'),
        ("nobody", 'Badge realm="api"'),
        ("nobody/later", 'Badge realm="api"'),
        ("stolen", "Badge stolen"),
    ],
)
async def test_401_names_every_scheme_or_the_one_that_was_tried(serve: Any, badge: str | None, challenge: str) -> None:
    service = await serve({}, Badges)
    async with service.client.get("/api/v1/who", headers={"X-Badge": badge} if badge else {}) as refused:
        assert refused.headers["WWW-Authenticate"] == challenge


# --- the kit, the log, nothing at all


async def test_kit_makes_tokens_that_are_taken(serve: Any, forge: Any, clock: FakeClock) -> None:
    service = await serve({"audience": "api"})
    token = make_token("grace", role=["admin"], clock=clock, aud="api", expires_s=60)
    assert await forge.asked(service, "/console", token) == (200, "grace")
    clock.advance(60)
    assert await forge.asked(service, "/console", token) == (401, "TOKEN_EXPIRED")


async def test_log_names_the_subject_and_no_token(serve: Any, forge: Any, capfd: pytest.CaptureFixture[str]) -> None:
    service = await serve({"default": "optional"}, "logs", tables={"logs": {"level": "debug"}})
    good, bad = forge.signed(), forge.signed(secret="w" * 40)
    await forge.asked(service, f"/api/v1/who?access_token={good}")
    await forge.asked(service, token=good)
    await forge.asked(service, token=bad)
    await service.stop()
    printed = capfd.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    requests = [line for line in lines if line["kind"] == "request"]
    assert [(line["userId"], line["error"]) for line in requests] == [
        (None, None),
        ("ada", None),
        (None, "INVALID_TOKEN"),
    ]
    assert requests[0]["url"] == "/api/v1/who?access_token=***"
    assert "A token was refused: its signature is wrong, or its kid is unknown." in printed
    for token in (good, bad):
        for part in token.split("."):
            assert part not in printed


def test_off_imports_none_of_it(tmp_path: Path) -> None:
    """Neither the plugin nor PyJWT, in a service that has everything else on."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from service.app import build, process_run\n"
        "from service.loader import load\n"
        "from service.run import Tasks\n"
        "from service.settings import read\n"
        "async def main():\n"
        "    settings, tasks = read(Path('config.toml'), environ={}), Tasks()\n"
        "    loaded = load(settings, process_run(settings, tasks=tasks, say=print))\n"
        "    async with build(loaded, tasks=tasks):\n"
        "        print([name for name in sys.modules if name.startswith(('plugins.auth', 'jwt'))])\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "config.toml").write_text(
        "[plugins.home]\nenabled = true\n[plugins.health]\nenabled = true\n[plugins.auth]\nenabled = false\n"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr


# --- starting


async def test_strict_start_without_a_secret_names_the_line(make_service: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        await make_service(["auth"])
    assert "export JWT_SECRET with 32 random bytes or more" in str(caught.value)
    assert 'write: secret = { env = "JWT_SECRET" }' in str(caught.value).replace("\n", " ")


async def test_tolerant_start_without_a_secret_makes_one_for_good(
    make_service: Any, serve: Any, forge: Any, tmp_path: Path
) -> None:
    first = await serve(bare=True, service={"strict": False})
    file = tmp_path / ".pegboard" / "auth.secret"
    secret = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["auth.secret"]
    (said,) = [sentence for sentence in first.said if "secret" in sentence]
    assert said.startswith("Tokens are checked with a secret of this machine's own, in .pegboard/auth.secret")
    assert secret not in said
    second = await serve(bare=True, service={"strict": False})
    for service in (first, second):
        assert await forge.asked(service, token=forge.signed(secret=secret)) == (200, "ada")
        assert await forge.asked(service, token=forge.signed(secret=TOKEN_SECRET)) == (401, "INVALID_TOKEN")


async def test_kept_secret_that_cannot_be_kept_stops_the_start(serve: Any, tmp_path: Path) -> None:
    (tmp_path / ".pegboard").write_text("in the way")
    with pytest.raises(PluginError, match=r"cannot be kept in \.pegboard/auth\.secret \(.*\); set one instead: secret"):
        await serve(bare=True, service={"strict": False})
