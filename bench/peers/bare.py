"""What Pegboard is measured against: bare aiohttp handlers on uvloop, without a concern.

    /noop              returns web.json_response({"status": "ok"}), as aiohttp's own examples do
    /sql/{case}        runs exactly the SQL that Pegboard runs for that case, through a bare asyncpg pool
    /sql/{case}/{n}    the same, with {n} as the argument that the case leaves open

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


def sql_handler(pool: asyncpg.Pool, case: dict[str, object]):
    """The case as an engineer would write it by hand: fetch one JSON value as bytes, wrap it, send it."""
    sql, args, begin, off = case["sql"], case["args"], case["from"], case["off"]
    before, after = case["before"].encode(), case["after"].encode()

    async def handler(request: web.Request) -> web.Response:
        if request.can_read_body:
            await request.json()  # what is bound is said in the case; a handler by hand would take it from here
        number = request.match_info.get("n")
        given = args if number is None else [number if each == "{n}" else each for each in args]
        async with pool.acquire() as connection:
            body = await connection.fetchval(sql, *given)
        return web.Response(body=before + body[begin : len(body) - off] + after, content_type="application/json")

    return handler


async def prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=lambda value: value, decoder=lambda value: value
    )


async def main(port: int, plan: dict[str, object]) -> None:
    async def database(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(plan["url"], min_size=2, max_size=10, init=prepare) as pool:
            handlers.update({name: sql_handler(pool, case) for name, case in plan["cases"].items()})
            yield

    handlers: dict[str, object] = {}

    async def dispatch(request: web.Request) -> web.Response:
        return await handlers[request.match_info["case"]](request)

    app = web.Application()
    app.router.add_get("/noop", noop)
    app.router.add_route("*", "/sql/{case}", dispatch)
    app.router.add_route("*", "/sql/{case}/{n}", dispatch)
    app.cleanup_ctx.append(database)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), json.load(sys.stdin)))
