"""The kit's own server: what tests rely on, and that nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

import service
from service.testing.postgres import PostgresServer

ROOT = Path(service.__file__).parents[1]

USER = """
import os, sys
from service.testing.postgres import PostgresServer
server = PostgresServer()
print(server.pid, server.socket, flush=True)
sys.stdin.read()
"""


async def test_databases_from_the_same_sql_are_copies_apart(make_database, ask):
    sql = "CREATE TABLE things (id int); INSERT INTO things VALUES (1);"
    first, second = make_database(sql), make_database(sql)
    await ask(first, "DELETE FROM things")
    assert (await ask(first, "SELECT count(*) FROM things"), await ask(second, "SELECT count(*) FROM things")) == (0, 1)


async def test_database_is_gone_after_its_block(postgres, ask):
    with postgres.database() as url:
        assert await ask(url, "SELECT 1") == 1
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await ask(url, "SELECT 1")


def test_wrong_sql_says_what_is_wrong(postgres):
    with pytest.raises(RuntimeError, match="syntax error"):
        postgres.create_database("CREATE TABEL things ();")


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_server_that_is_stopped_or_killed_starts_again_with_its_data(private_server, ask, ending):
    url = private_server.create_database("CREATE TABLE things (id int); INSERT INTO things VALUES (1);")
    getattr(private_server, ending)()
    with pytest.raises(OSError, match=r"No such file|refused"):
        await ask(url, "SELECT 1")
    private_server.start()
    assert await ask(url, "SELECT count(*) FROM things") == 1


def test_closed_server_leaves_no_folder_and_no_process():
    with PostgresServer() as server:
        pid, folder = server.pid, server.socket
        server.freeze()
    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_killed_user_of_the_kit_leaves_no_folder_and_no_process(eventually):
    user = subprocess.Popen(  # noqa: ASYNC220  # one line from it, at once
        [sys.executable, "-c", USER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert user.stdout is not None
    pid, folder = user.stdout.readline().split()
    os.kill(int(pid), 0)
    user.kill()
    user.communicate()
    await eventually(lambda: not os.path.exists(folder))

    def is_gone() -> bool:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        return False

    await eventually(is_gone)


def test_server_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="PostgreSQL did not start"):
        PostgresServer({"shared_buffers": "nonsense"})
