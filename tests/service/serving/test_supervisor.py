"""The supervisor: several workers, those that die, reload, and what is the supervisor's alone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

HOUSEHOLD = """
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def household(self, run):
            print("household entered", flush=True)
            yield {"token": "shared"}
            print("household left", flush=True)

        def __init__(self, settings, run):
            self.run = run

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            print(f"opened with {self.run.household}, {self.run.workers} workers", flush=True)
            yield
            print("closed", flush=True)
    """


# --- workers


async def test_workers_share_one_socket_and_one_household(start: Any) -> None:
    service = await (await start("--workers", "2", house=HOUSEHOLD)).served()
    assert len(await service.pids(2)) == 2
    service.send(signal.SIGINT)
    assert (await service.ended())[0] == 0
    told = re.findall(r"(?m)^(?:household entered|opened with .*|closed|household left)$", service.out)
    opened = "opened with {'token': 'shared'}, 2 workers"
    assert told == ["household entered", opened, opened, "closed", "closed", "household left"]


async def test_worker_that_is_killed_is_replaced_and_named(start: Any) -> None:
    service = await (await start("--workers", "2")).served()
    victim, other = await service.pids(2)
    os.kill(victim, signal.SIGKILL)
    seen = await service.until_pids(lambda pids: victim not in pids, count=2)
    assert other in seen
    (successor,) = seen - {other}
    service.send(signal.SIGTERM)
    assert (await service.ended())[0] == 0
    assert f"worker {victim} was ended by SIGKILL; another one is started in its place." in service.out
    assert successor != victim


async def test_worker_that_alone_gets_sigterm_finishes_and_is_replaced(start: Any) -> None:
    service = await (await start("--workers", "1")).served()
    reader, writer = await service.begun("/slow")
    (worker,) = service.workers()
    os.kill(worker, signal.SIGTERM)
    assert b"200 OK" in await reader.read()
    writer.close()
    await service.until_pids(lambda pids: worker not in pids)


async def test_workers_of_a_supervisor_that_is_killed_finish_what_runs_and_end(start: Any) -> None:
    service = await (await start("--workers", "2")).served()
    reader, writer = await service.begun("/slow")
    service.process.kill()
    assert b"200 OK" in await reader.read()
    writer.close()
    code, _ = await service.ended()  # only once the last one has closed its end of standard output
    assert code == -signal.SIGKILL
    assert service.out.count("The supervisor has gone: this worker finishes what runs and ends.") == 2
    assert service.out.count("hello closed") == 2
    again = await (await start("--port", str(service.port))).served()
    assert again.port == service.port


CRASHING = """
    import os
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            os._exit(3)
            yield
    """


async def test_worker_that_crashes_while_it_opens_ends_the_start(start: Any) -> None:
    service = await start("--workers", "2", crashing=CRASHING)
    code, _ = await service.ended()
    assert code == os.EX_SOFTWARE
    assert service.out.strip() == (
        "pegboard: the worker ended with exit code 3 before it was ready; see what it printed."
    )


RAISING = CRASHING.replace("os._exit(3)", "raise ValueError('no')")


async def test_fault_of_a_worker_is_the_sentence_of_the_start(start: Any) -> None:
    code, _ = await (service := await start(raising=RAISING)).ended()
    assert code == os.EX_CONFIG
    assert service.out.splitlines()[-1].startswith(
        "pegboard: plugin raising: its hook lifespan failed with ValueError: no (raising.py, line 10); correct it, or "
    )


@pytest.mark.slow
async def test_crash_loop_is_named_and_slows_down(start: Any) -> None:
    service = await (await start()).served()
    for _ in range(4):
        (worker,) = await service.until_pids(lambda pids: bool(pids))
        os.kill(worker, signal.SIGKILL)
        await service.line(rf"worker {worker} was ended by SIGKILL")
    service.send(signal.SIGINT)
    assert (await service.ended())[0] == 0
    told = re.findall(r"was ended by SIGKILL; (.*)", service.out)
    assert told == [
        "another one is started in its place.",
        "2 times in a row now: the next one is started in 1 s.",
        "workers keep crashing, 3 times in a row now: the next one is started in 2 s.",
        "workers keep crashing, 4 times in a row now: the next one is started in 4 s.",
    ]


# --- reload


GREETING = """
    from service.api import Answer, Route, hookimpl

    class Plugin:
        @hookimpl
        def routes(self):
            yield Route("GET", "/greet", lambda request: Answer.json({"greeting": "one"}), name="greet")
    """


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("way", ["command", "SIGHUP"])
async def test_reload_takes_over_code_settings_and_the_number_of_workers(start: Any, tmp_path: Path, way: str) -> None:
    service = await (await start(config="workers = 1", greeting=GREETING)).served()
    (old,) = await service.pids(1)
    assert '"one"' in await service.get("/greet")
    edit(tmp_path / "plugins" / "greeting.py", '"one"', '"two"')
    edit(tmp_path / "config.toml", "workers = 1", "workers = 2")
    if way == "command":
        code, out = await service.command("reload")
        assert code == 0
        assert re.fullmatch(r"Reloaded in \d+\.\d\d s: 2 workers serve\.\n", out)
    else:
        service.send(signal.SIGHUP)
    await service.until_pids(lambda pids: old not in pids, count=2)
    assert '"two"' in await service.get("/greet")
    service.send(signal.SIGTERM)
    assert (await service.ended())[0] == 0
    assert "Traceback" not in service.out


async def test_reload_lets_the_old_generation_finish_and_closes_its_connections(start: Any, tmp_path: Path) -> None:
    service = await (await start()).served()
    idle_reader, idle_writer = await service.asked("/hello")
    await idle_reader.readuntil(b"}")
    reader, writer = await service.begun("/gate")
    code, _ = await service.command("reload")
    assert code == 0
    (tmp_path / "open").touch()
    answer = await reader.read()  # to the end of the connection
    assert b"200 OK" in answer
    assert b"Connection: close" in answer
    assert await idle_reader.read() == b""
    for each in (writer, idle_writer):
        each.close()


NOT_RELOADED = "pegboard: not reloaded, the service goes on as it was: "


@pytest.mark.parametrize(
    ("place", "old", "new", "said"),
    [
        ("config.toml", "shutdown =", "shutdwn =", "config.toml:3  service.timeouts.shutdwn: there is no such setting"),
        ("config.toml", "[service]", "[service", "config.toml:1"),
        ("plugins/greeting.py", "yield Route", "yield Rout", "plugin greeting: its hook routes failed with NameError"),
        ("plugins/greeting.py", "@hookimpl", "@hookimpl(", "config.toml:"),
    ],
)
async def test_reload_that_fails_leaves_the_old_generation_and_says_why(
    start: Any, tmp_path: Path, place: str, old: str, new: str, said: str
) -> None:
    service = await (await start(greeting=GREETING)).served()
    before = await service.pids(1)
    edit(tmp_path / place, old, new)
    code, out = await service.command("reload")
    assert code == 1
    assert out.startswith(NOT_RELOADED + said)
    service.send(signal.SIGHUP)
    await service.line("Not reloaded \\(SIGHUP\\), so the service goes on as it was: ")
    assert await service.pids(1) == before
    assert service.workers() == before
    edit(tmp_path / place, new, old)
    code, out = await service.command("reload")
    assert (code, out.startswith("Reloaded")) == (0, True)


async def test_reload_whose_workers_do_not_get_ready_is_given_up(start: Any, tmp_path: Path) -> None:
    service = await (await start(greeting=GREETING)).served()
    before = await service.pids(1)
    edit(tmp_path / "config.toml", 'shutdown = "10s"', 'shutdown = "10s", reload = "100ms"')
    (tmp_path / "plugins" / "greeting.py").write_text("import time; time.sleep(600)")
    code, out = await service.command("reload")
    assert (code, out) == (
        1,
        f"{NOT_RELOADED}a worker was not ready within 0.1 s; see in the log what it waits for, or give it longer: "
        'reload = "5m" under [service.timeouts].\n',
    )
    assert await service.pids(1) == service.workers() == before


async def test_reload_to_another_port_moves_there_unless_it_is_taken(start: Any, tmp_path: Path) -> None:
    service = await (await start()).served()
    other = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    taken = other.sockets[0].getsockname()[1]
    edit(tmp_path / "config.toml", "port = 0", f"port = {taken}")
    code, out = await service.command("reload")
    assert (code, out) == (
        1,
        f"{NOT_RELOADED}port {taken} on 127.0.0.1 is taken by another process; stop it, or choose another: "
        f"--port {taken + 1}\n",
    )
    assert "hello" in await service.get("/hello")
    other.close()
    await other.wait_closed()
    code, _ = await service.command("reload")
    assert code == 0
    await service.stopped_listening()
    service.port = taken
    assert "hello" in await service.get("/hello")


async def test_reload_to_every_address_of_its_port_takes_a_restart(start: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = await (await start(config='host = "127.0.0.1"')).served()
    edit(tmp_path / "config.toml", "port = 0", f"port = {port}")
    assert (await service.command("reload"))[0] == 0
    edit(tmp_path / "config.toml", '"127.0.0.1"', '"0.0.0.0"')
    code, out = await service.command("reload")
    assert (code, out) == (
        1,
        f"{NOT_RELOADED}service.host: port {port} on 0.0.0.0 overlaps with port {port} on 127.0.0.1, where this "
        "service listens now; restart it to move from one to the other.\n",
    )


async def test_plugin_may_ask_for_a_reload(start: Any) -> None:
    asking = """
        from service.api import Answer, Route, hookimpl

        class Plugin:
            def __init__(self, settings, run):
                self.run = run

            @hookimpl
            def routes(self):
                yield Route("GET", "/ask", self.ask, name="ask")

            def ask(self, request):
                self.run.request_reload("somebody asked")
                return Answer.json({})
        """
    service = await (await start(asking=asking, logs="")).served()
    before = await service.pids(1)
    await service.get("/ask")
    await service.until_pids(lambda pids: not pids & before)
    service.send(signal.SIGTERM)
    await service.ended()
    assert '"message":"Reloaded in ' in service.out


async def test_workers_that_ask_for_a_reload_at_one_time_get_one(start: Any, tmp_path: Path) -> None:
    asking = """
        import asyncio
        from contextlib import asynccontextmanager
        from pathlib import Path
        from service.api import hookimpl

        class Plugin:
            def __init__(self, settings, run):
                self.run = run

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports):
                if not Path("asked").exists():
                    self.run.spawn(self.ask(), name="ask")
                yield

            async def ask(self):
                while not Path("asked").exists():
                    await asyncio.sleep(0.005)
                self.run.request_reload("both have seen it")
        """
    service = await (await start("--workers", "2", asking=asking, logs="")).served()
    before = await service.pids(2)
    (tmp_path / "asked").touch()
    await service.until_pids(lambda pids: not pids & before, count=2)
    assert (await service.command("reload"))[0] == 0  # after whatever else was asked for
    service.send(signal.SIGTERM)
    await service.ended()
    assert service.out.count('"message":"Reloaded in ') == 2


async def test_household_that_begins_with_a_reload_is_refused(start: Any, tmp_path: Path) -> None:
    service = await (await start()).served()
    await (await start("--port", "0", house=HOUSEHOLD)).served()  # writes plugin and settings beside the first one's
    code, out = await service.command("reload", "--pid", str(service.process.pid))
    assert (code, out) == (
        1,
        f"{NOT_RELOADED}plugin house has what lives as long as the service, which a reload cannot begin; restart the "
        "service.\n",
    )


async def test_reload_without_or_with_several_services_says_what_to_do(start: Any) -> None:
    service = await (await start()).served()
    other = await (await start()).served()
    code, out = await service.command("reload")
    pids = sorted([service.process.pid, other.process.pid], key=str)
    assert (code, out) == (
        1,
        f"pegboard: several services run with this state_dir, processes {pids[0]}, {pids[1]}: choose one with --pid.\n",
    )
    code, _ = await service.command("reload", "--pid", str(other.process.pid))
    assert code == 0
    for each in (service, other):
        each.send(signal.SIGINT)
        await each.ended()
    code, out = await service.command("reload")
    assert (code, out) == (
        1,
        "pegboard: no service runs with this config.toml and its state_dir: start it with `pegboard run`.\n",
    )


async def test_state_folder_that_cannot_be_used_is_told_and_sighup_still_reloads(start: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    service = await (await start(config='state_dir = "state"')).served()
    assert re.search("`pegboard reload` cannot reach this service, since .* cannot be used", service.out)
    before = await service.pids(1)
    service.send(signal.SIGHUP)
    await service.until_pids(lambda pids: not pids & before)


@pytest.mark.parametrize("place", ["plugins/greeting.py", "config.toml"])
async def test_watch_reloads_when_a_file_changes(start: Any, tmp_path: Path, place: str) -> None:
    service = await (await start("--watch", greeting=GREETING, logs="")).served()
    before = await service.pids(1)
    # Until it watches, a change is not seen: change again.
    async with asyncio.timeout(60):
        while await service.pids(1) == before:
            edit(tmp_path / place, "\n", "\n\n")
            await asyncio.sleep(0.3)
    service.send(signal.SIGINT)
    await service.ended()
    assert '"message":"Reloaded in ' in service.out


# --- what it is not


async def test_ctrl_c_in_the_whole_process_group_is_one_end(start: Any) -> None:
    service = await (await start("--workers", "2", shutdown="60s")).served()
    reader, writer = await service.begun("/slow")
    for pid in (*service.workers(), service.process.pid):
        os.kill(pid, signal.SIGINT)
    assert b"200 OK" in await reader.read()
    writer.close()
    assert (await service.ended())[0] == 0
