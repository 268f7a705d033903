"""docs/operators.md: its settings are accepted, its tables are complete, its messages are what is printed."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import pytest

from plugins import home
from plugins.auth.tokens.keys import AlgorithmName
from plugins.database import demo
from plugins.logs.redaction import Redaction
from plugins.logs.tokens import compile_format
from plugins.redis.urls import SCHEMES, Kind, target_of
from service import cli
from service.cli import exits
from service.cli.group import pegboard
from service.cli.machine import Level
from service.errors import EX_CONFIG
from service.settings import Limits, Timeouts
from service.testing.postgres import PostgresServer
from service.testing.redis import RedisServer
from service.testing.service import MakeService

PAGE = "operators.md"

Blocks = Callable[[str, str], list[str]]
Rows = Callable[[str, str], list[list[str]]]
Starts = Callable[..., str]

WITH_DATABASE = '[plugins.database]\nenabled = true\nurl = { env = "DATABASE_URL" }\n'


@pytest.fixture
def start_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Starts:
    """`start_fails(toml, arguments...)`: what `pegboard run` prints where it cannot start."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "PEGBOARD_ENV", "PEGBOARD_CONFIG", "PORT"):
        monkeypatch.delenv(name, raising=False)

    def start(toml: str, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        Path("config.toml").write_text(toml)
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        assert cli.main(["run", "--port", "0", *arguments]) in (EX_CONFIG, os.EX_UNAVAILABLE)
        return capfd.readouterr().err.strip()

    return start


def test_every_fragment_of_settings_is_accepted(
    blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/shop")
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    monkeypatch.setenv("JWT_SECRET", "s" * 64)
    Path("database-url").write_text("postgresql://localhost/shop\n")
    for block in blocks(PAGE, "tested: toml"):
        Path("config.toml").write_text(block)
        environments = re.findall(r"\[env\.(\w+)", block)
        for environment in ("development", *environments):
            assert cli.main(["check", "--env", environment]) == 0, capsys.readouterr().err + block


async def test_rules_can_be_pasted_below_the_shipped_settings(
    make_service: MakeService, demo_url: str, blocks: Blocks
) -> None:
    """Where they do nothing as long as everyone may do everything, which is told."""
    (block,) = blocks(PAGE, "tested: below config.toml")
    settings = tomllib.loads((Path(__file__).parents[2] / "config.toml").read_text() + block)
    environ = {"DATABASE_URL": demo_url, "JWT_SECRET": "s" * 64}
    service = await make_service(settings=settings, environ=environ)
    assert [each for each in service.said if each.startswith("Everyone may")] == [
        "Everyone may read, list, create, update and delete rows of every table here, so the rules of admin, anonymous "
        'and user take nothing of that away; for them to count, remove plugins.auth.roles."*".tables."*".'
    ]
    del settings["env"]["development"]["plugins"]["auth"]["roles"]
    service = await make_service(settings=settings, environ=environ)
    assert not [each for each in service.said if "role" in each]
    async with service.client.get("/api/v1/users?limit=1") as response:
        (row,) = (await response.json())["data"]
        assert row.keys() == {"id", "name"}


def test_tokens_of_the_log_are_all_there(rows: Rows) -> None:
    with pytest.raises(ValueError, match="tokens are") as refused:
        compile_format(":nope", Redaction(), str)
    there = set(re.findall(r":[\w-]+(?:\[NAME\])?", str(refused.value).partition("the tokens are")[2]))
    assert {row[0] for row in rows(PAGE, "tested: tokens")} == there


async def test_json_log_has_the_fields_that_are_shown(
    make_service: MakeService, blocks: Blocks, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await make_service(["logs", "health"])
    await service.client.get("/health/live?token=abcd")
    await service.stop()
    printed = json.loads(capfd.readouterr().out.splitlines()[0])
    shown = json.loads(blocks(PAGE, "tested: log line")[0])
    assert list(printed) == list(shown)
    assert printed["url"].endswith("?token=***")


def test_exit_codes_are_all_there(rows: Rows) -> None:
    there = re.findall(r"^    (\d+) ", exits.__doc__ or "", re.MULTILINE)
    assert [row[0] for row in rows(PAGE, "tested: exit codes")] == there


def test_algorithms_of_tokens_are_all_there(rows: Rows) -> None:
    told = [name for row in rows(PAGE, "tested: keys")[:2] for name in row[2].split(", ")]
    assert told == list(get_args(AlgorithmName))


def test_bounds_are_all_there_with_their_defaults(rows: Rows) -> None:
    bounds = {
        f"{table}.{name}": str(field.default)
        for table, model in (("timeouts", Timeouts), ("limits", Limits))
        for name, field in model.model_fields.items()
    }
    assert {row[0]: row[1] for row in rows(PAGE, "tested: bounds")} == bounds


def test_doctor_looks_at_what_the_guide_shows(
    blocks: Blocks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    make_database: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", make_database("CREATE TABLE things (id int PRIMARY KEY)"))
    Path("config.toml").write_text(WITH_DATABASE)
    assert cli.main(["doctor", "--json", "--set", "service.port=0"]) == 0
    there = [finding["what"] for finding in json.loads(capfd.readouterr().out)["findings"]]
    shown = [line.split() for line in blocks(PAGE, "tested: doctor")[0].splitlines()[1:]]
    assert [line[1] for line in shown] == there
    assert {line[0] for line in shown} < set(Level)


def test_doors_of_the_home_page_are_those_of_its_settings(rows: Rows) -> None:
    told = {(json.loads(door), strict) for door, strict, _ in rows(PAGE, "tested: home")}
    assert told == {("api", "on"), ("api", "off"), ("operator", "either")}
    assert set(get_args(home.Settings.model_fields["door"].annotation)) == {door for door, _ in told}


def test_messages_of_a_failed_start_are_those_of_the_table(
    start_fails: Starts, rows: Rows, postgres: PostgresServer, redis_server: RedisServer
) -> None:
    url = postgres.url()
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    missing = postgres.url("no_such_database")
    resources = '[plugins.resources]\nenabled = true\ntables = ["users"]\n'
    with taken:
        printed = [
            start_fails("", "--config", "nope.toml"),
            start_fails("[service]\nprot = 3000\n"),
            start_fails("[service.timeouts]\nhandler = 30\n"),
            start_fails("", "--env", "prod"),
            start_fails(WITH_DATABASE),
            start_fails("[plugins.helo]\nenabled = true\n"),
            start_fails(WITH_DATABASE.replace("true", "false") + resources),
            start_fails("", "--port", port),
            start_fails(
                WITH_DATABASE + 'timeouts = { start = "100ms" }\n', environ={"DATABASE_URL": "postgres://127.0.0.1:1/x"}
            ),
            start_fails(WITH_DATABASE, environ={"DATABASE_URL": missing}),
            start_fails(WITH_DATABASE + resources, environ={"DATABASE_URL": url}),
            start_fails(f'[plugins.redis]\nenabled = true\nurl = "unix://nobody:x@{redis_server.socket}"\n'),
        ]
    told = [row[0] for row in rows(PAGE, "tested: start errors")]
    matching: dict[str, list[str]] = {message: [] for message in told}
    for text in printed:
        found = [message for message in told if as_pattern(message).search(text)]
        assert len(found) == 1, (text, found)
        matching[found[0]].append(text)
    untried = [message for message, texts in matching.items() if not texts]
    assert untried == ["…is used by another service, process …: …"]  # tests/plugins/database starts a second one


def test_advice_is_printed_as_the_guide_shows(
    blocks: Blocks,
    make_database: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """But for its figures, and what only a running service has seen."""
    rows = """
        INSERT INTO users (email, name, password_hash) SELECT i || '@x.y', 'Ada', '-' FROM generate_series(1, 1000) i;
        INSERT INTO orders (user_id, total) SELECT 1 + i % 1000, 1 FROM generate_series(1, 5000) i;
        DROP INDEX orders_user_id_idx;
        ANALYZE users, orders;
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", make_database(demo.SCHEMA + rows))
    monkeypatch.setattr(pegboard, "commands", {})  # it stays with the process, as a command line does
    Path("config.toml").write_text(f'{WITH_DATABASE}[plugins.resources]\nenabled = true\ntables = ["*"]\n')
    assert cli.main(["db", "advise"]) == 0
    printed = [re.sub(r"[\d.,]+", "N", line) for line in capsys.readouterr().out.splitlines()]
    shown = [line for line in blocks(PAGE, "tested: advice")[0].splitlines()[1:] if "Seen by" not in line]
    assert [line for line in shown if re.sub(r"[\d.,]+", "N", line) not in printed] == []


def test_urls_of_redis_are_understood(rows: Rows) -> None:
    urls = [row[0].replace("...", "/run/redis.sock") for row in rows(PAGE, "tested: redis urls")]
    assert {target_of(url).kind for url in urls} == set(Kind)
    assert {url.partition("://")[0] for url in urls} | {"rediss+sentinel", "rediss+cluster"} == set(SCHEMES)


def test_messages_of_a_running_service_are_in_its_code(rows: Rows) -> None:
    root = Path(__file__).parents[2]
    files = [file for folder in ("service", "plugins") for file in sorted((root / folder).rglob("*.py"))]
    code = "".join([file.read_text() for file in files])
    for message, _ in rows(PAGE, "tested: running messages"):
        parts = [part for part in message.split("…") if len(part.strip()) > 3]
        assert parts, message
        assert [part for part in parts if part.strip(" .;:()") not in code] == [], message


def as_pattern(message: str) -> re.Pattern[str]:
    return re.compile("^" + ".*".join(re.escape(part) for part in message.split("…")), re.MULTILINE | re.DOTALL)


def test_settings_that_the_guide_names_are_in_the_reference() -> None:
    docs = Path(__file__).parents[2] / "docs"
    named = set(re.findall(r"`((?:pool|timeouts)\.\w+)`", (docs / PAGE).read_text()))
    reference = (docs / "reference" / "settings.md").read_text()
    assert named
    assert all(f"`{name}`" in reference for name in named)
