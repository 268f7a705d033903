"""docs/clients.md: every request that it shows is sent, and every answer is the one that it shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import asyncpg
from yarl import URL

from plugins.auth.store.schema import STATEMENTS
from plugins.database.demo import DEMO_PASSWORD, make_demo
from service.testing.service import MakeService, Service, merged
from service.testing.tokens import TOKEN_SECRET, make_token

PAGE = "clients.md"

READINGS = """
CREATE TABLE readings (station text, day date, value int NOT NULL, PRIMARY KEY (station, day));
INSERT INTO readings VALUES ('north,1', '2026-01-31', 7), ('south', '2026-01-31', 3), ('west\\', '2026-01-31', 5);
"""

OWN_WORDS = {"timestamp", "requestId"}
"""What no two answers share."""


def exchanges(block: str) -> list[tuple[list[str], str]]:
    """The arguments of each curl in a block, and what it prints."""
    found = re.findall(r"^\$ curl (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    assert len(found) == block.count("$ curl")
    return [(shlex.split(arguments), printed) for arguments, printed in found]


async def assert_answers(service: Service, arguments: list[str], printed: str, own_words: set[str] = OWN_WORDS) -> None:
    """Send what `curl` with these arguments would send, and compare what comes back with `printed`."""
    words = iter(arguments)
    method, headers, address, with_head, data = "GET", {}, "", False, None
    for word in words:
        match word:
            case "-g":
                pass
            case "-i":
                with_head = True
            case "-I":
                method, with_head = "HEAD", True
            case "-X":
                method = next(words)
            case "--json":
                data = next(words)
                headers["Content-Type"] = "application/json"
                method = "POST" if method == "GET" else method
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case _:
                address = word
    url = URL(f"http://{address}", encoded=True)
    response = await service.client.request(method, url.relative(), headers=headers, data=data)
    body = await response.text()
    if with_head:
        head, _, printed = printed.partition("\n\n")
        status, *lines = head.strip().splitlines()
        assert status == f"HTTP/1.1 {response.status} {response.reason}"
        for line in lines:
            name, _, value = line.partition(": ")
            assert value == response.headers[name] or value.startswith("req_"), line
    if body or printed.strip():
        assert without(own_words, json.loads(body)) == without(own_words, json.loads(printed))


def without(words: set[str], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(words, item) for key, item in value.items() if key not in words}
    return [without(words, item) for item in value] if isinstance(value, list) else value


async def test_requests_to_the_demo_are_answered_as_shown(
    demo: Service, blocks: Callable[[str, str], list[str]]
) -> None:
    for block in blocks(PAGE, "tested"):
        for arguments, printed in exchanges(block):
            await assert_answers(demo, arguments, printed)


async def test_writes_to_the_demo_are_answered_as_shown(
    make_service: MakeService,
    shipped: dict[str, Any],
    make_database: Callable[[str], str],
    blocks: Callable[[str, str], list[str]],
) -> None:
    url = make_database("")
    connection = await asyncpg.connect(url)
    await make_demo(connection)
    await connection.close()
    service = await make_service(settings=shipped, environ={"DATABASE_URL": url})
    for block in blocks(PAGE, "tested: writing"):
        for arguments, printed in exchanges(block):
            await assert_answers(service, arguments, printed, OWN_WORDS | {"createdAt", "updatedAt"})


async def test_requests_with_and_without_a_token_are_answered_as_shown(
    make_service: MakeService, shipped: dict[str, Any], demo_url: str, blocks: Callable[[str, str], list[str]]
) -> None:
    settings = merged(shipped, {"env": {"development": {"plugins": {"auth": {"default": "required"}}}}})
    service = await make_service(settings=settings, environ={"DATABASE_URL": demo_url, "JWT_SECRET": TOKEN_SECRET})
    tokens = {"$TOKEN": make_token(), "$EXPIRED": make_token(expires_s=-1)}
    for block in blocks(PAGE, "tested: auth"):
        for arguments, printed in exchanges(block):
            for name, token in tokens.items():
                arguments = [argument.replace(name, token) for argument in arguments]
            await assert_answers(service, arguments, printed)


async def test_logging_in_is_answered_as_shown(
    make_service: MakeService,
    shipped: dict[str, Any],
    make_database: Callable[[str], str],
    blocks: Callable[[str, str], list[str]],
) -> None:
    """Each refresh token that is sent is that of a login of its own."""
    url = make_database("".join([f"{statement};" for statement in STATEMENTS]))
    connection = await asyncpg.connect(url)
    await make_demo(connection)
    await connection.close()
    settings = merged(shipped, {"plugins": {"auth": {"login": {"table": "users"}}}})
    service = await make_service(settings=settings, environ={"DATABASE_URL": url, "JWT_SECRET": TOKEN_SECRET})
    own_words = OWN_WORDS | {"accessToken", "refreshToken"}
    for block in blocks(PAGE, "tested: login"):
        for arguments, printed in exchanges(block):
            account = {"email": "ivan.chen1@example.com", "password": DEMO_PASSWORD}
            async with service.client.post("/api/v1/auth/token", json=account) as logged_in:
                token = (await logged_in.json())["refreshToken"]
            arguments = [argument.replace("$REFRESH", token) for argument in arguments]
            await assert_answers(service, arguments, printed, own_words)


async def test_escaped_keys_and_lists_are_answered_as_shown(
    make_service: MakeService,
    make_database: Callable[[str], str],
    blocks: Callable[[str, str], list[str]],
) -> None:
    url = make_database(READINGS)
    settings = {"plugins": {"database": {"url": url}, "resources": {"tables": ["readings"]}}}
    service = await make_service(["database", "resources"], settings)
    for block in blocks(PAGE, "tested: readings"):
        for arguments, printed in exchanges(block):
            await assert_answers(service, arguments, printed)


async def test_filters_choose_as_many_users_as_the_table_says(
    demo: Service, rows: Callable[[str, str], list[list[str]]]
) -> None:
    told = {query: int(total) for query, total in rows(PAGE, "tested: totals of /api/v1/users")}
    found = {}
    for query in told:
        response = await demo.client.get(URL(f"/api/v1/users?limit=1&{query}", encoded=True))
        found[query] = (await response.json())["pagination"]["total"]
    assert found == told


async def test_types_look_in_json_as_the_table_says_and_take_its_operators(
    make_service: MakeService,
    make_database: Callable[[str], str],
    rows: Callable[[str, str], list[list[str]]],
) -> None:
    told = rows(PAGE, "tested: types")
    columns = ", ".join(f"{value} AS c{number}" for number, (_, value, _, _) in enumerate(told))
    made = f"CREATE TABLE kinds AS SELECT 1 AS id, {columns}; ALTER TABLE kinds ADD PRIMARY KEY (id)"
    url = make_database(f"CREATE TYPE pair AS (a int, b text); {made}")
    settings = {"plugins": {"database": {"url": url}, "resources": {"tables": ["kinds"]}}}
    service = await make_service(["database", "resources"], settings)
    row = await (await service.client.get("/api/v1/kinds/1")).text()
    index = await (await service.client.get("/api/v1")).json()
    types = {field["name"]: field["type"] for field in index["data"][0]["fields"]}
    for number, (kind, value, in_json, operators) in enumerate(told):
        name = f"c{number}"
        assert f'"{name}":{in_json}' in row, value
        assert types[name] == kind, value
        response = await service.client.get(f"/api/v1/kinds?{name}[nope]=1")
        message = (await response.json())["error"]["details"][0]["message"]
        assert message.endswith(f"it takes {', '.join(operators.split())}."), value


async def test_unencoded_text_is_refused_as_malformed(demo: Service) -> None:
    response = await demo.client.get(URL.build(path="/api/v1/users", query_string="name=%2Cé", encoded=True))
    assert response.status == 400
