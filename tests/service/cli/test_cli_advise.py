"""`pegboard db advise`: the whole of it, with a service that runs and one that does not."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

THINGS = """
CREATE TABLE things (id int PRIMARY KEY, state text NOT NULL, made_at timestamptz NOT NULL);
INSERT INTO things
SELECT i, 'state ' || i % 9, timestamptz '2026-01-01' + i * interval '1 min' FROM generate_series(1, 20000) i;
ANALYZE things;
"""

CONFIG = """
[service]
port = 0

[plugins.database]
enabled = true
url = { env = "DATABASE_URL" }

[plugins.health]
enabled = true

[plugins.resources]
enabled = true
tables = ["*"]
"""

LINE = 'CREATE INDEX CONCURRENTLY ON "public"."things" ("state", "made_at", "id");'
NO_SERVICE = (
    "What clients ask for is not known from a running service: No service runs with this config.toml and its state_dir."
)
NO_STATEMENTS = (
    "What clients asked for is not known from pg_stat_statements, which this database does not have: add it to "
    "shared_preload_libraries, and CREATE EXTENSION pg_stat_statements."
)
REQUESTS = 24


@pytest.fixture
def things(cli: Any, make_database: Callable[[str], str]) -> Any:
    """The command, in a folder whose config.toml serves `things`."""
    cli.environ["DATABASE_URL"] = make_database(THINGS)
    cli.write("config.toml", CONFIG)
    return cli


def test_advise_without_a_service_says_so_and_ends_with_0(things: Any) -> None:
    ended = things("db", "advise")
    assert ended.code == 0
    assert (
        ended.out == f"{NO_SERVICE}\n{NO_STATEMENTS}\nNothing to advise: 1 list was looked at, 1 of them explained.\n"
    )
    assert re.fullmatch(r"PostgreSQL \S+ at .*, database \S+ as \S+\n", ended.err)


def test_advise_hears_of_all_workers_what_clients_ask_for(things: Any) -> None:
    """Their counts are added; the service is not disturbed."""
    service = things.start("run", "--workers", "2")
    service.wait_until_ready()
    for _ in range(REQUESTS):
        assert service.get("/api/v1/things?state=state 1&sort=-madeAt".replace(" ", "%20"))[0] == 200
    report = things("db", "advise", "--json").json
    (advice,) = report["advice"]
    assert advice["kind"] == "index"
    assert advice["table"] == "things"
    assert advice["run"] == LINE
    assert [line for line in advice["plan"] if "Seq Scan on things: " in line]
    assert [line for line in advice["evidence"] if line.startswith(f"Seen by the service {REQUESTS} times, ")]
    assert report["notes"] == [NO_STATEMENTS]
    assert {each["list"] for each in report["looked"]} == {
        "things sorted by id",
        "things filtered by state, sorted by -made_at, -id",
        "capped count of things filtered by state",
    }
    told = things("db", "advise").out
    assert f"\n  run: {LINE}\n" in told
    assert told.endswith("1 piece of advice: 3 lists were looked at, 3 of them explained.\n")
    assert service.get("/api/v1/things/1")[0] == 200
    assert service.end(signal.SIGINT).code == 0


def test_advise_of_a_second_instance_has_its_name(things: Any) -> None:
    things.write("config.toml", CONFIG + '[plugins.more]\nenabled = true\nuse = "resources"\npath = "more"\n')
    told = things("db", "--help")
    assert told.code == 0
    assert "Look at the database behind the API." in told.out
    assert re.findall(r"(?m)^  (advise\S*)", told.out) == ["advise", "advise-more"]
    assert things("db", "advise-more").out.endswith("Nothing to advise: 0 lists were looked at, 0 of them explained.\n")


def test_advise_without_a_database_is_one_sentence(things: Any) -> None:
    things.environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    ended = things("--help")
    assert "db " in ended.out
    things.environ["PEGBOARD__PLUGINS__DATABASE__TIMEOUTS__START"] = "100ms"
    ended = things("db", "advise")
    assert ended.code == 69
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert ended.err.startswith("pegboard: plugin database: ") or "\npegboard: " in ended.err


def test_advise_of_settings_with_mistakes_says_who_tells_them(things: Any) -> None:
    things.write("config.toml", CONFIG.replace('["*"]', '["thing"]'))
    ended = things("db", "advise")
    assert ended.code == 78
    assert "what would be served has mistakes in its settings: `pegboard run` tells all of them." in ended.err
