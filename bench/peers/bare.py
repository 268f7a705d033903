"""What Pegboard is measured against: bare aiohttp handlers on uvloop, without a concern.

    /noop              returns web.json_response({"status": "ok"}), as aiohttp's own examples do
    /sql/{case}        runs exactly the SQL that Pegboard runs for that case, through a bare asyncpg pool

Started by the benchmark: `python bare.py PORT`, with the statements as JSON on stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import asyncpg
import uvloop
from aiohttp import web


async def noop(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def sql_handler(pool: asyncpg.Pool, sql: str, args: list[object], around: tuple[bytes, int, bytes]):
    """The case as an engineer would write it by hand: fetch one JSON value as bytes, wrap it, send it."""
    before, skip, after = around

    async def handler(request: web.Request) -> web.Response:
        async with pool.acquire() as connection:
            body = await connection.fetchval(sql, *args)
        end = len(body) - skip if skip else len(body)
        return web.Response(body=before + body[1 if skip else 0 : end] + after, content_type="application/json")

    return handler


async def prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=lambda value: value, decoder=lambda value: value
    )


async def main(port: int, plan: dict[str, object]) -> None:
    async def database(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(plan["url"], min_size=2, max_size=10, init=prepare) as pool:
            handlers.update(
                {
                    name: sql_handler(
                        pool, case["sql"], case["args"], (case["before"].encode(), case["skip"], case["after"].encode())
                    )
                    for name, case in plan["cases"].items()
                }
            )
            yield

    handlers: dict[str, object] = {}

    async def dispatch(request: web.Request) -> web.Response:
        return await handlers[request.match_info["case"]](request)

    app = web.Application()
    app.router.add_get("/noop", noop)
    app.router.add_get("/sql/{case}", dispatch)
    app.cleanup_ctx.append(database)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), json.load(sys.stdin)))
