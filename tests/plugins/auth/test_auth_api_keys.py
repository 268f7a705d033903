"""API keys: whole requests over a real socket, with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from plugins.auth import api_keys
from plugins.auth.api_keys import knowing
from plugins.auth.api_keys.text import ApiKey, _checksum, new_key, parse_key
from plugins.auth.store import keys as store
from plugins.auth.store.channel import CHANNEL, heard
from plugins.auth.store.schema import STATEMENTS, has_schema, make_schema
from plugins.database.pool import Postgres
from service.api import DATABASE, Answer, Database, Ports, Route, hookimpl
from service.errors import SettingsError
from service.testing import FakeClock, PostgresServer
from tests.plugins.timing import ALIKE, PAIRS, Ask, area
from tests.plugins.waiting import eventually

SCHEMA = ";\n".join(STATEMENTS)
INVALID = (401, "INVALID_TOKEN")
CHALLENGE = 'ApiKey realm="api"'


class Store:
    """Takes the database along for the test, and counts what is asked of it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.database: Database | None = None
        store_ = self

        class Plugin:
            requires = (DATABASE,)

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                store_.database = ports.need(DATABASE)
                yield

        self.Plugin = Plugin
        self.__name__ = "store"

    @property
    def here(self) -> Database:
        assert self.database is not None
        return self.database

    async def make(
        self, name: str = "ci", *, roles: Any = ("reader",), scopes: Any = (), lives_s: float | None = 3600
    ) -> ApiKey:
        key, now_s = new_key(), self.clock.now()
        ends_at = None if lives_s is None else now_s + lives_s
        assert await store.add_key(self.here, key, name=name, roles=roles, scopes=scopes, now_s=now_s, ends_at=ends_at)
        return key

    async def revoke(self, key: ApiKey) -> None:
        (revoked,) = await store.revoke_keys(self.here, identity=key.id, now_s=self.clock.now())
        assert revoked.id == key.id


@pytest.fixture
def kept(clock: FakeClock) -> Store:
    return Store(clock)


@pytest.fixture
def url(make_database: Callable[[str], str]) -> str:
    return make_database(SCHEMA)


@pytest.fixture
def serve_keys(serve: Any, kept: Store, url: str) -> Any:
    async def start(auth: Any = None, *plugins: Any, url: str = url, tables: Any = None, **more: Any) -> Any:
        tables = {"database": {"url": url}, **(tables or {})}
        return await serve(auth, "database", kept, *plugins, tables=tables, **more)

    return start


@pytest.fixture
def private_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that PostgreSQL is asked for."""
    ids: list[str] = []

    async def find(database: Database, identity: str) -> Any:
        ids.append(identity)
        return await store.find_key(database, identity)

    monkeypatch.setattr(knowing, "find_key", find)
    return ids


async def ask_as(url: str, sql: str, *args: object) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql, *args)
    finally:
        await connection.close()


async def outcome(service: Any, *headers: tuple[str, str], path: str = "/api/v1/who") -> tuple[int, str | None]:
    async with service.client.get(path, headers=list(headers)) as response:
        body = await response.json()
        return response.status, body["error"]["code"] if "error" in body else body["subject"]


async def sent(service: Any, key: ApiKey | str, path: str = "/api/v1/who") -> tuple[int, str | None]:
    return await outcome(service, ("X-API-Key", key if isinstance(key, str) else key.text), path=path)


# --- who asks with one


async def test_key_says_subject_roles_and_scopes(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys()
    key = await kept.make(roles=("reader", "editor"), scopes=("read", "write"))
    for headers in ({"X-API-Key": key.text}, {"Authorization": f"ApiKey {key.text}"}, {"x-api-key": key.text}):
        async with service.client.get("/api/v1/who", headers=headers) as told:
            assert await told.json() == {
                "subject": "key:ci",
                "roles": ["editor", "reader"],
                "scopes": ["read", "write"],
                "scheme": "apikey",
                "claims": {"sub": "key:ci", "keyId": f"pgb_{key.id}"},
            }


class Kept:
    """Says itself how long its answer may be kept."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            answer = Answer.json({}, headers=[("Cache-Control", "max-age=60")])
            yield Route("GET", "kept", lambda request: answer, name="kept.read")


async def test_answer_to_a_key_is_private_unless_its_route_says_otherwise(
    serve_keys: Any, kept: Store, forge: Any
) -> None:
    """A shared cache takes X-API-Key for nothing, as it does not Authorization (RFC 9111, section 3.5)."""
    service = await serve_keys({"default": "optional"}, Kept)
    plain, operator = (await kept.make()).text, (await kept.make("op", roles=("admin",))).text

    async def said(path: str, **headers: str) -> tuple[int, list[str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with service.client.get(path, headers=sent) as response:
            return response.status, response.headers.getall("Cache-Control", [])

    for path, status in (("/api/v1/who", 200), ("/api/v1/who/known", 200), ("/console", 403)):
        assert await said(path, X_API_Key=plain) == (status, ["private"])
        assert (await said(path, Authorization=f"ApiKey {plain}"))[1] == []
        assert (await said(path, Authorization=f"Bearer {forge.signed()}"))[1] == []
        assert (await said(path))[1] == []
    assert await said("/console", X_API_Key=operator) == (200, ["private"])
    assert await said("/api/v1/kept", X_API_Key=plain) == (200, ["max-age=60"])
    assert await said("/api/v1/who/open", X_API_Key=plain) == (200, [])


async def test_name_of_the_scheme_has_no_case(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys()
    key = await kept.make()
    for scheme in ("apikey", "APIKEY", "aPiKeY"):
        assert await outcome(service, ("Authorization", f"{scheme} {key.text}")) == (200, "key:ci")
    assert await outcome(service, ("Authorization", f"ApiKeys {key.text}")) == INVALID
    assert await outcome(service, ("Authorization", "ApiKey")) == INVALID


async def test_key_with_the_role_of_operators_opens_their_routes(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys()
    admin, reader = await kept.make("boss", roles=["admin"]), await kept.make("ci")
    assert await sent(service, admin, "/console") == (200, "key:boss")
    assert await sent(service, reader, "/console") == (403, "FORBIDDEN")


async def test_routes_for_anyone_look_at_no_key_and_optional_ones_refuse_a_wrong_one(
    serve_keys: Any, kept: Store
) -> None:
    service = await serve_keys()
    key = await kept.make()
    assert await sent(service, "wrong", "/api/v1/who/open") == (200, None)
    assert await sent(service, "wrong", "/api/v1/who/maybe") == INVALID
    assert await sent(service, key, "/api/v1/who/maybe") == (200, "key:ci")


async def test_tokens_are_taken_as_before(serve_keys: Any, forge: Any) -> None:
    service = await serve_keys()
    assert await forge.asked(service, token=forge.signed()) == (200, "ada")
    assert await forge.asked(service, token="nonsense") == INVALID


# --- what refusals look like


async def test_401_names_the_scheme_and_nothing_of_the_key(serve_keys: Any, kept: Store, clock: FakeClock) -> None:
    """Absent, wrong, expired, revoked: one answer, but for its time and id."""
    service = await serve_keys()
    expired, revoked, good = await kept.make("a", lives_s=1), await kept.make("b"), await kept.make("c")
    await kept.revoke(revoked)
    clock.advance(1)
    wrong = f"{good.text[:17]}{new_key().text[17:60]}"
    bodies = []
    for key in (expired.text, revoked.text, new_key().text, signed(wrong), "garbage"):
        async with service.client.get("/api/v1/who", headers={"X-API-Key": key}) as refused:
            assert (refused.status, refused.headers.getall("WWW-Authenticate")) == (401, [CHALLENGE])
            error = (await refused.json())["error"]
            bodies.append({name: error[name] for name in error if name not in ("requestId", "timestamp")})
    assert bodies == [{"code": "INVALID_TOKEN", "message": "The API key is not valid.", "details": []}] * 5


def signed(text: str) -> str:
    """With its checksum."""
    return f"{text}{_checksum(text)}"


async def test_401_without_credentials_tells_of_both_ways(serve_keys: Any) -> None:
    service = await serve_keys()
    async with service.client.get("/api/v1/who") as refused:
        error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (401, "NO_TOKEN")
        assert error["message"] == "Say who you are: send Authorization: Bearer TOKEN, or X-API-Key: KEY."
        assert refused.headers["WWW-Authenticate"] == f'{CHALLENGE}, Bearer realm="api"'


async def test_keys_beside_anything_else_are_refused_with_a_sentence(serve_keys: Any, kept: Store, forge: Any) -> None:
    service = await serve_keys({"default": "optional"})
    key, token = (await kept.make()).text, forge.signed()
    beside = "There are X-API-Key and Authorization headers; send one of them."
    for headers, message in (
        ([("X-API-Key", key), ("Authorization", f"Bearer {token}")], beside),
        ([("X-API-Key", key), ("Authorization", f"ApiKey {key}")], beside),
        ([("X-API-Key", key), ("Authorization", "Basic YWRhOng=")], beside),
        ([("X-API-Key", key), ("X-API-Key", key)], "There is more than one X-API-Key header; send one."),
        (
            [("Authorization", f"ApiKey {key}"), ("Authorization", f"Bearer {token}")],
            "There is more than one Authorization header; send one.",
        ),
        ([("X-API-Key", f"{key}, {key}")], "The API key is not valid."),
        ([("X-API-Key", f"{key},")], "The API key is not valid."),
        ([("Authorization", f"ApiKey {key}, Bearer {token}")], "The API key is not valid."),
    ):
        async with service.client.get("/api/v1/who", headers=headers) as refused:
            error = (await refused.json())["error"]
            assert (refused.status, error["code"], error["message"]) == (401, "INVALID_TOKEN", message)


ATTACKS: dict[str, Callable[[str, str], str]] = {
    "nothing": lambda key, other: "",
    "id alone": lambda key, other: key[:16],
    "without its checksum": lambda key, other: key[:-6],
    "cut by one": lambda key, other: key[:-1],
    "padded": lambda key, other: f"{key}=",
    "padded by itself": lambda key, other: key + key,
    "wrong checksum": lambda key, other: key[:-6] + other[-6:],
    "id of another, own secret": lambda key, other: signed(other[:17] + key[17:60]),
    "own id, secret of another": lambda key, other: signed(key[:17] + other[17:60]),
    "own id, no secret": lambda key, other: signed(key[:17] + "0" * 43),
    "upper case": lambda key, other: signed(key[:60].upper()),
    "lower case": lambda key, other: signed(key[:60].lower()),
    "case swapped": lambda key, other: signed("pgb_" + key[4:60].swapcase()),
    "other prefix": lambda key, other: signed("pgx_" + key[4:60]),
    "in quotes": lambda key, other: f'"{key}"',
    "percent-encoded": lambda key, other: "%70" + key[1:],
    "SQL": lambda key, other: "pgb_' OR '1'='1' --" + key[19:],
    "SQL as the id": lambda key, other: signed("pgb_'OR''='' -- _" + key[17:60]),
    "wildcard": lambda key, other: signed("pgb_%%%%%%%%%%%%_" + key[17:60]),
    "letters of elsewhere": lambda key, other: key[:-1] + "é",
    "64 KiB": lambda key, other: key + "A" * 7_000,
    "digest in place of the secret": lambda key, other: signed(key[:17] + parse(key).digest.hex()[:43]),
}


def parse(text: str) -> ApiKey:
    key = parse_key(text)
    assert key is not None
    return key


@pytest.mark.parametrize("kind", ATTACKS)
async def test_every_other_text_is_refused(serve_keys: Any, kept: Store, asked: list[str], kind: str) -> None:
    service = await serve_keys({"default": "optional"})
    key, other = (await kept.make("ci")).text, new_key().text
    text = ATTACKS[kind](key, other)
    assert text != key
    assert await sent(service, text) == INVALID
    assert await outcome(service, ("Authorization", f"ApiKey {text}")) == INVALID
    assert all(identity.isalnum() for identity in asked)
    assert await sent(service, key) == (200, "key:ci")


async def test_key_of_64_kib_is_too_large_a_header(serve_keys: Any) -> None:
    service = await serve_keys()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /api/v1/who HTTP/1.1\r\nHost: x\r\nX-API-Key: " + b"A" * 65_536 + b"\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 431 ")
    writer.close()
    await writer.wait_closed()


async def test_bytes_that_are_no_text_are_refused(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys()
    key = (await kept.make()).text.encode()
    for value in (b"\xff\xfe" + key[2:], key[:-2] + b"\xc3\xa9", b"\x80" * len(key)):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET /api/v1/who HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: " + value + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))
        writer.close()
        await writer.wait_closed()


async def test_key_in_the_query_is_no_key(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys()
    key = await kept.make()
    for name in ("api_key", "X-API-Key", "key"):
        assert await outcome(service, path=f"/api/v1/who?{name}={key.text}") == (401, "NO_TOKEN")


# --- the same work


async def test_absent_and_wrong_and_ended_keys_cost_the_same(
    serve_keys: Any, kept: Store, asked: list[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question and one comparison each; again within a second the comparison alone."""
    compared: list[int] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one) + len(other))
        return real(one, other)

    service = await serve_keys()
    good, expired, revoked = await kept.make("a"), await kept.make("b", lives_s=1), await kept.make("c")
    await kept.revoke(revoked)
    clock.advance(1)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    absent, wrong = new_key().text, signed(good.text[:17] + new_key().text[17:60])
    for text in (absent, wrong, expired.text, revoked.text):
        asked.clear()
        compared.clear()
        assert await sent(service, text) == INVALID
        assert (asked, compared) == ([parse(text).id], [64])
        assert await sent(service, text) == INVALID
        assert (asked, compared) == ([parse(text).id], [64, 64])
        clock.advance(1)
        assert await sent(service, text) == INVALID
        assert len(asked) == 2


@pytest.mark.slow
async def test_time_does_not_tell_absent_keys_from_wrong_ones(serve_keys: Any, kept: Store) -> None:
    """Nor from those that have ended."""
    service = await serve_keys()
    made = [await kept.make(f"ci-{each}") for each in range(PAIRS)]
    ended = [await kept.make(f"old-{each}") for each in range(PAIRS)]
    for key in ended:
        await kept.revoke(key)

    def asking(texts: list[str]) -> Ask:
        async def ask(number: int) -> None:
            assert await sent(service, texts[number]) == INVALID

        return ask

    def absent() -> Ask:
        """Others each time: an id that was asked for in this second is not asked for again."""
        return asking([new_key().text for _ in range(PAIRS)])

    await area(absent(), absent(), 50)
    wrong = asking([signed(key.text[:17] + new_key().text[17:60]) for key in made])
    low, high = ALIKE
    for name, other in (("wrong", wrong), ("ended", asking([key.text for key in ended]))):
        found = await area(other, absent())
        assert low < found < high, f"{name}: {found:.3f}"
    found = await area(asking(["none"] * 50), absent(), 50)
    assert found < 0.1, "a difference would not be seen"


# --- what is remembered


async def test_known_key_costs_no_question(serve_keys: Any, kept: Store, asked: list[str], clock: FakeClock) -> None:
    service = await serve_keys()
    key = await kept.make()
    for seconds, questions in ((0, 1), (0, 1), (59, 1), (1, 2), (30, 2)):
        clock.advance(seconds)
        assert await sent(service, key) == (200, "key:ci")
        assert len(asked) == questions, seconds


async def test_key_that_is_remembered_ends_to_the_second(serve_keys: Any, kept: Store, clock: FakeClock) -> None:
    service = await serve_keys()
    key = await kept.make(lives_s=30)
    clock.advance(29.5)
    assert await sent(service, key) == (200, "key:ci")
    clock.advance(0.5)
    assert await sent(service, key) == INVALID


async def test_remembered_key_is_refused_once_it_is_revoked(serve_keys: Any, kept: Store) -> None:
    """By the clock of the services not a moment passes."""
    first, second = await serve_keys(), await serve_keys()
    key, other = await kept.make("ci"), await kept.make("other")
    for service in (first, second):
        assert await sent(service, key) == (200, "key:ci")
        assert await sent(service, other) == (200, "key:other")
    await kept.revoke(key)

    async def is_refused_everywhere() -> bool:
        return [await sent(service, key) for service in (first, second)] == [INVALID, INVALID]

    await eventually(is_refused_everywhere, within_s=5)
    for service in (first, second):
        assert await sent(service, other) == (200, "key:other")


async def test_rotated_key_lives_on_for_its_overlap(serve_keys: Any, kept: Store, clock: FakeClock) -> None:
    service = await serve_keys()
    old, new = await kept.make(roles=["admin"], scopes=["x"]), new_key()
    assert await sent(service, old) == (200, "key:ci")
    rotated = await store.rotate_key(kept.here, new, name="ci", now_s=clock.now(), overlap_s=60, lives_s=None)
    assert rotated is not None
    assert (rotated[1].roles, rotated[1].scopes) == (("admin",), ("x",))
    assert rotated[1].ends_at == clock.now() + 3600
    clock.advance(59)
    assert [await sent(service, key) for key in (old, new)] == [(200, "key:ci")] * 2
    clock.advance(1)
    assert [await sent(service, key) for key in (old, new)] == [INVALID, (200, "key:ci")]


async def test_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    serve_keys: Any, kept: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read before, and is told of after the message."""
    service = await serve_keys()
    key = await kept.make()
    read, go_on, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def find(database: Database, identity: str) -> Any:
        found = await store.find_key(database, identity)
        read.set()
        await go_on.wait()
        return found

    hear = knowing.KnownKeys.hear
    monkeypatch.setattr(knowing, "find_key", find)

    def hears(self: knowing.KnownKeys, payload: str) -> None:
        hear(self, payload)
        if (message := heard(payload)) is not None and message.kind == knowing.KIND:  # and no echo
            told.set()

    monkeypatch.setattr(knowing.KnownKeys, "hear", hears)
    service = await serve_keys()
    asking = asyncio.create_task(sent(service, key))
    await asyncio.wait_for(read.wait(), 5)
    await kept.revoke(key)
    await asyncio.wait_for(told.wait(), 5)
    go_on.set()
    assert await asking == (200, "key:ci")  # it was good when it was asked for
    assert await sent(service, key) == INVALID


async def test_flood_of_one_wrong_key_is_one_question_a_second(
    serve_keys: Any, kept: Store, asked: list[str], clock: FakeClock
) -> None:
    service = await serve_keys()
    key = await kept.make()
    wrongs = [signed(key.text[:17] + new_key().text[17:60]) for _ in range(20)]
    absent = new_key().text
    for texts in ([absent] * 40, wrongs):
        asked.clear()
        assert await asyncio.gather(*[sent(service, text) for text in texts]) == [INVALID] * len(texts)
        assert len(asked) == 1
        clock.advance(1)


async def test_what_is_kept_of_ids_that_clients_make_up_is_bounded(
    serve_keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowing, "MOST_ASKED", 5)
    made: list[Any] = []
    init = knowing.KnownKeys.__init__
    monkeypatch.setattr(
        knowing.KnownKeys, "__init__", lambda self, *args, **more: (init(self, *args, **more), made.append(self))[0]
    )
    service = await serve_keys({"remember": 1})
    for _ in range(8):
        assert await sent(service, new_key()) == INVALID
    assert len(made[0]._asked) == 5
    assert len(made[0]._memory) == 0


async def test_nothing_is_remembered_while_revocations_are_not_heard(
    serve_keys: Any, kept: Store, url: str, asked: list[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question a second then, and memory again once they are heard."""
    listeners = "pg_stat_activity WHERE datname = current_database() AND application_name = 'pegboard listen'"
    begin, lose = knowing.KnownKeys.begin, knowing.KnownKeys.lose
    lost, is_deaf = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(knowing.KnownKeys, "begin", lambda self: None if is_deaf.is_set() else begin(self))
    monkeypatch.setattr(knowing.KnownKeys, "lose", lambda self: (lose(self), lost.set()))
    service = await serve_keys()
    key = await kept.make()
    assert await sent(service, key) == (200, "key:ci")
    lost.clear()
    is_deaf.set()
    await ask_as(url, f"SELECT count(pg_terminate_backend(pid)) FROM {listeners}")
    await asyncio.wait_for(lost.wait(), 5)
    asked.clear()
    for questions in (1, 2, 3):
        assert await sent(service, key) == (200, "key:ci")
        assert len(asked) == questions
        clock.advance(1)
    is_deaf.clear()

    async def is_remembered() -> bool:
        await ask_as(url, f"SELECT count(pg_terminate_backend(pid)) FROM {listeners} AND now() - backend_start > '1 s'")
        asked.clear()
        clock.advance(1)
        return await sent(service, key) == (200, "key:ci") and not asked

    await eventually(is_remembered)


async def test_service_that_hears_nothing_says_so_and_asks_each_second(
    serve_keys: Any, kept: Store, asked: list[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that lends connections by the transaction: LISTEN is taken, and nothing passed on."""
    monkeypatch.setattr(knowing.KnownKeys, "hear", lambda self, payload: None)
    monkeypatch.setattr(api_keys, "PATIENCE_S", 0.1)
    service = await serve_keys()
    (said,) = [sentence for sentence in service.said if CHANNEL in sentence]
    assert said.endswith("stands behind a pooler that passes nothing on; each API key is looked up again after 1 s.")
    key = await kept.make()
    for seconds, questions in ((0, 1), (0.9, 1), (0.1, 2), (1, 3)):
        clock.advance(seconds)
        assert await sent(service, key) == (200, "key:ci")
        assert len(asked) == questions
    await kept.revoke(key)
    clock.advance(1)
    assert await sent(service, key) == INVALID


@pytest.mark.parametrize(
    "payload", ["", "null", "[]", "{}", '{"kind": "key"}', '{"kind": "key", "value": 1}', "[" * 2_000, "é" * 3_000]
)
async def test_messages_that_are_none_change_nothing(
    serve_keys: Any, kept: Store, url: str, asked: list[str], payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()
    hear = knowing.KnownKeys.hear
    monkeypatch.setattr(knowing.KnownKeys, "hear", lambda self, text: (hear(self, text), told.set()))
    service = await serve_keys()
    key = await kept.make()
    assert await sent(service, key) == (200, "key:ci")
    await ask_as(url, "SELECT pg_notify($1, $2)", CHANNEL, payload)
    await asyncio.wait_for(told.wait(), 5)
    assert await sent(service, key) == (200, "key:ci")
    assert len(asked) == 1


# --- without a database, without a schema


async def test_without_a_database_there_is_no_such_scheme(serve: Any, forge: Any) -> None:
    service = await serve()
    assert await outcome(service, ("X-API-Key", new_key().text)) == (401, "NO_TOKEN")
    assert await outcome(service, ("X-API-Key", "x"), ("Authorization", f"Bearer {forge.signed()}")) == (200, "ada")


async def test_keys_can_be_turned_off(serve_keys: Any, kept: Store) -> None:
    service = await serve_keys({"api_keys": False})
    assert await sent(service, await kept.make()) == (401, "NO_TOKEN")


async def test_keys_that_are_asked_for_need_a_database(serve: Any) -> None:
    with pytest.raises(SettingsError, match="database"):
        await serve({"api_keys": True})


async def test_without_the_schema_keys_are_refused_and_the_log_says_how_to_make_it(
    serve_keys: Any, make_database: Callable[[str], str], caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    service = await serve_keys(url=make_database("SELECT 1;"))
    for _ in range(3):
        assert await sent(service, new_key()) == INVALID
        clock.advance(1)
    lines = [record.getMessage() for record in caplog.records if record.name == "pegboard.auth"]
    assert lines == [
        "API keys are refused, since the database has no schema pegboard to keep them in; run: pegboard auth init"
    ]


async def test_start_makes_no_schema_in_a_database_of_others(serve_keys: Any, kept: Store, make_database: Any) -> None:
    await serve_keys(url=make_database("SELECT 1;"))
    assert not await has_schema(kept.here)


async def test_start_makes_the_schema_on_a_server_of_its_own(
    serve_keys: Any, kept: Store, make_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word."""
    init = Postgres.__init__
    monkeypatch.setattr(Postgres, "__init__", lambda self, *args, **more: init(self, *args, **{**more, "is_own": True}))
    url = make_database("SELECT 1;")
    for name in ("first", "second"):
        service = await serve_keys(url=url)
        assert not [sentence for sentence in service.said if "schema" in sentence]
        assert await sent(service, await kept.make(name)) == (200, f"key:{name}")


async def test_schema_is_made_by_several_at_once(serve_keys: Any, kept: Store, make_database: Any) -> None:
    await serve_keys(url=make_database("SELECT 1;"))
    await asyncio.gather(*[make_schema(kept.here) for _ in range(4)])
    assert await has_schema(kept.here)


async def test_role_that_may_not_read_the_keys_refuses_them_and_says_so(
    serve_keys: Any, kept: Store, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = await serve_keys()
    key = await kept.make()
    name = url.partition("?")[0].rpartition("/")[2]
    admin = url.replace(f"/{name}?", "/postgres?")
    await ask_as(admin, f"CREATE ROLE of_{name}")
    await ask_as(admin, f"ALTER DATABASE {name} SET role = of_{name}")
    try:
        service = await serve_keys()
        assert await sent(service, key) == INVALID
        assert "may not read pegboard.api_keys" in caplog.text
    finally:
        await ask_as(admin, f"ALTER DATABASE {name} RESET role")
        await ask_as(admin, f"DROP ROLE of_{name}")


async def test_database_that_is_away_is_503_for_keys_that_are_not_remembered(
    serve_keys: Any, kept: Store, private_server: PostgresServer, clock: FakeClock
) -> None:
    service = await serve_keys(url=private_server.create_database(SCHEMA))
    key = await kept.make()
    await asyncio.to_thread(private_server.stop)
    async with service.client.get("/api/v1/who", headers={"X-API-Key": key.text}) as refused:
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert (await refused.json())["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert await sent(service, "garbage") == INVALID
    await asyncio.to_thread(private_server.start)

    async def is_back() -> bool:
        clock.advance(1)
        return await sent(service, key) == (200, "key:ci")

    await eventually(is_back)


async def test_standby_takes_no_listen_and_keys_are_asked_for_each_second(
    serve_keys: Any, kept: Store, asked: list[str], clock: FakeClock
) -> None:
    with PostgresServer({"wal_level": "replica"}) as server:
        url = server.create_database(SCHEMA)
        first = await serve_keys(url=url)
        key = await kept.make()
        await first.stop()
        await asyncio.to_thread(server.stand_by)
        service = await serve_keys(url=url)
        (said,) = [sentence for sentence in service.said if CHANNEL in sentence]
        assert said.endswith("each API key is looked up again after 1 s.")
        for questions in (1, 2):
            assert await sent(service, key) == (200, "key:ci")
            clock.advance(1)
            assert len(asked) == questions
        await service.stop()


# --- canaries


async def test_key_is_in_no_line_of_the_log_and_in_no_answer(
    serve_keys: Any, kept: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good and wrong, in each place where one may be sent, with everything logged."""
    service = await serve_keys({"default": "optional"}, "logs", tables={"logs": {"level": "debug"}})
    good, wrong = (await kept.make()).text, new_key().text
    answers = []
    for key in (good, wrong):
        for headers in (
            {"X-API-Key": key},
            {"Authorization": f"ApiKey {key}"},
            {"Authorization": key},
            {"X-API-Key": f"{key}x"},
            {"X-API-Key": key, "Authorization": "Bearer x"},
        ):
            async with service.client.get(f"/api/v1/who?api_key={key}", headers=headers) as response:
                answers.append(await response.text())
                answers.append(str(response.headers))
    await service.stop()
    printed = capfd.readouterr()
    requests = [json.loads(line) for line in printed.out.splitlines() if '"kind":"request"' in line]
    assert len(requests) == 10
    assert requests[0]["userId"] == "key:ci"
    assert requests[0]["url"] == "/api/v1/who?api_key=***"
    for key in (good, wrong):
        for text in (*answers, printed.out, printed.err, *service.said):
            assert key[17:60] not in text
