"""`pegboard doctor`: every look, made to fail for real where a test can; what cannot be had is handed in."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from service.cli import machine
from service.cli.machine import Level
from service.listening import Address

DATABASE = '[plugins.database]\nenabled = true\nurl = { env = "DATABASE_URL" }\n'

WELL = "[service]\nport = 0\n"

LOOKS = ["python", "packages", "parser", "loop", "clock", "settings", "files", "state_dir", "disk", "main", "plugins"]

PROBES = """
import asyncio
from service.api import Probe, hookimpl

async def well():
    pass

async def lost():
    raise ConnectionError("10.1.2.3 refused")

async def hang():
    await asyncio.Event().wait()

class Plugin:
    @hookimpl
    def probes(self):
        print("a word on standard output")
        yield Probe("store", well)
        yield Probe("mailer", lost, critical=False)
        yield Probe("payments", hang, critical=CRITICAL, timeout_s=0.05)
"""


def found(ended: Any) -> dict[str, tuple[str, str]]:
    """Level and text by what was looked at; each once."""
    assert "Traceback" not in ended.err
    findings = {finding["what"]: (finding["level"], finding["text"]) for finding in ended.json["findings"]}
    assert len(findings) == len(ended.json["findings"])
    assert ended.json["ok"] is all(level != "fail" for level, _ in findings.values())
    assert ended.code == (0 if ended.json["ok"] else 1)
    return findings


def test_doctor_looks_at_everything_and_finds_nothing_that_fails(cli: Any, make_database: Callable[[str], str]) -> None:
    cli.environ["DATABASE_URL"] = make_database("CREATE TABLE pets (id int PRIMARY KEY)")
    cli.write("config.toml", WELL + DATABASE + "[plugins.health]\nenabled = true\n")
    findings = found(cli("doctor", "--json"))
    assert list(findings) == [*LOOKS, "database"]
    assert findings["parser"] == ("ok", "aiohttp's is compiled")
    assert findings["loop"][0] == "ok"
    assert findings["settings"] == ("ok", "config.toml in environment development")
    assert findings["plugins"] == ("ok", "opened: database, health")
    assert findings["database"][0] == "ok"
    assert not (cli.folder / ".pegboard").exists()


def test_doctor_prints_one_line_each(cli: Any) -> None:
    cli.write("config.toml", WELL)
    ended = cli("doctor")
    lines = [line.split(None, 2) for line in ended.out.splitlines()]
    assert [line[1] for line in lines] == LOOKS
    assert {line[0] for line in lines} <= {"ok", "warn"}
    assert all(len(line) == 3 for line in lines)
    assert ended.code == 0


def test_parser_that_is_not_compiled_is_a_warning(cli: Any) -> None:
    cli.environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    cli.write("config.toml", WELL)
    level, text = found(cli("doctor", "--json"))["parser"]
    assert level == "warn"
    assert text.endswith("; unset AIOHTTP_NO_EXTENSIONS")


def test_uvloop_that_cannot_be_imported_fails_and_nothing_is_opened(cli: Any) -> None:
    cli.write("broken/uvloop.py", "raise ImportError('built for\\nanother machine')")
    cli.environ["PYTHONPATH"] = f"{cli.folder / 'broken'}{os.pathsep}{cli.environ['PYTHONPATH']}"
    cli.write("config.toml", WELL)
    findings = found(cli("doctor", "--json"))
    way_out = "write: pip install --force-reinstall uvloop"
    assert findings["loop"] == ("fail", f"uvloop cannot be imported (built for another machine); {way_out}")
    assert "plugins" not in findings


def test_package_below_its_floor_fails_with_the_line_to_write(cli: Any) -> None:
    cli.write("old/aiohttp-3.9.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: aiohttp\nVersion: 3.9.1\n")
    cli.environ["PYTHONPATH"] = f"{cli.folder / 'old'}{os.pathsep}{cli.environ['PYTHONPATH']}"
    cli.write("config.toml", WELL)
    floor = next(text for text in machine.own_requirements() or [] if text.startswith("aiohttp<"))
    assert found(cli("doctor", "--json"))["packages"] == (
        "fail",
        f"aiohttp 3.9.1 is too old; write: pip install '{floor}'",
    )


@pytest.mark.parametrize(
    ("installed", "level", "text"),
    [
        ({}, Level.FAIL, "one is not installed; write: pip install 'one<3,>=2.1'"),
        ({"one": "2.0"}, Level.FAIL, "one 2.0 is too old; write: pip install 'one<3,>=2.1'"),
        ({"one": "3.0.1"}, Level.WARN, "one 3.0.1 is newer than what was tried; write: pip install 'one<3,>=2.1'"),
        ({"one": "2.1", "two": "0.9"}, Level.WARN, "two 0.9 is too old; write: pip install 'two>=1'"),
        ({"one": "2.9rc1", "two": "1"}, Level.OK, "2, each of a version that"),
        ({"one": "2.1"}, Level.OK, "1, each of a version that"),
        ({"one": "2.1", "four": "0.1"}, Level.OK, "1, each of a version that"),
    ],
)
def test_packages_are_compared_with_what_the_distribution_asks_for(
    installed: Mapping[str, str], level: Level, text: str
) -> None:
    asked = ["one<3,>=2.1", 'two>=1; extra == "more"', 'three; python_version < "3"', 'four>=1; extra == "test"']
    (finding,) = machine.packages(asked, installed.get)
    assert finding.level is level
    assert finding.text.startswith(text)


def test_packages_cannot_be_compared_where_nothing_is_installed() -> None:
    (finding,) = machine.packages(None)
    assert (finding.level, finding.text.rpartition("; ")[2]) == (Level.WARN, "write: pip install .")


def test_openssl_without_fixes_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.interpreter().level is Level.OK
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (1, 1, 1, 23, 15))
    assert machine.interpreter().level is Level.WARN


def test_clock_before_our_own_code_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    written_at = machine.own_code_written_at()
    finding = machine.clock(written_at - 1, after_s=written_at)
    assert (finding.level, "before this Pegboard" in finding.text) == (Level.FAIL, True)
    for is_kept, level in ((True, Level.OK), (None, Level.OK), (False, Level.WARN)):
        monkeypatch.setattr(machine, "is_kept_in_time", lambda is_kept=is_kept: is_kept)
        assert machine.clock(written_at, after_s=written_at).level is level


def test_fewer_open_files_than_the_limits_allow_connections_are_a_warning(cli: Any) -> None:
    cli.write("config.toml", WELL + "[service.limits]\nconnections = 300\n[service.operator]\nport = 0\n")
    cli.command = ("sh", "-c", 'ulimit -n 700; exec "$@"', "-", *cli.command)
    level, text = found(cli("doctor", "--json"))["files"]
    assert level == "warn"
    assert text.startswith("700 may be open, and 728 are wanted: ulimit -n 728")
    assert found(cli("doctor", "--json", "--set", "service.limits.connections=200"))["files"][0] == "ok"


def test_open_files_without_a_limit_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert machine.open_files(10**6) == machine.Finding(Level.OK, "files", "any number may be open")


def test_faulty_settings_fail_in_one_line(cli: Any) -> None:
    cli.write("config.toml", "[service]\nprot = 0\n")
    findings = found(cli("doctor", "--json"))
    assert list(findings) == LOOKS[:6]
    assert findings["settings"][0] == "fail"
    assert findings["settings"][1].startswith("config.toml:2 service.prot: there is no such setting; did you mean")
    cli.write("config.toml", "[service]\nprot = 0\nhots = 1\n")
    assert found(cli("doctor", "--json"))["settings"][1].startswith("2 faults; pegboard check prints them")


def test_state_folder_that_cannot_be_written_is_a_warning(cli: Any) -> None:
    cli.write("config.toml", WELL + 'state_dir = "config.toml"\n')
    level, text = found(cli("doctor", "--json"))["state_dir"]
    assert level == "warn"
    assert text.startswith("config.toml cannot be written (Not a directory); ")


@pytest.mark.parametrize(
    ("free_bytes", "level", "text"),
    [
        (3 * 2**30, Level.OK, "3.0 GiB free where state_dir is"),
        (2**30 - 1, Level.WARN, "1023 MiB free where state_dir is; make room"),
        (2**26 - 1, Level.FAIL, "63 MiB free where state_dir is; make room"),
    ],
)
def test_disk_that_is_nearly_full_is_told(free_bytes: int, level: Level, text: str) -> None:
    finding = machine.free_space(free_bytes)
    assert finding.level is level
    assert finding.text.startswith(text)


def test_address_that_another_process_has_fails(cli: Any) -> None:
    cli.write("config.toml", WELL)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        findings = found(cli("doctor", "--json", "--set", f"service.port={port}", "--set", "service.operator.port=0"))
    assert findings["main"][0] == "fail"
    assert findings["main"][1].startswith(f"port {port} on 127.0.0.1 is taken by another process; ")
    assert findings["operator"] == ("ok", "any port will do")


def test_address_that_this_service_has_is_no_fault(cli: Any) -> None:
    cli.write("config.toml", WELL + '[service.timeouts]\ndrain = "0s"\n')
    started = cli.start("run")
    port = int(started.url.rpartition(":")[2])
    with_port = ("doctor", "--json", "--set", f"service.port={port}")
    process = f"which runs as process {started.process.pid}"
    assert found(cli(*with_port))["main"] == ("ok", f"port {port} on 127.0.0.1 is this service's, {process}")
    other = found(cli(*with_port, "--set", 'service.state_dir="elsewhere"'))["main"]
    assert (other[0], "is taken by another process" in other[1]) == ("fail", True)
    assert started.end().code == 0


def test_socket_of_this_service_is_no_fault_and_stays(cli: Any) -> None:
    cli.write("config.toml", '[service]\nlisten = "unix:p.sock"\n[service.timeouts]\ndrain = "0s"\n')
    path = cli.folder / "p.sock"
    assert found(cli("doctor", "--json"))["main"] == ("ok", f"{path} is free")
    assert not path.exists()
    started = cli.start("run")
    started.wait_for(r"serving .*p\.sock")
    assert found(cli("doctor", "--json"))["main"][1].startswith(f"{path} is this service's, which runs as process ")
    assert path.is_socket()
    assert started.end().code == 0


def test_database_that_does_not_answer_fails(cli: Any) -> None:
    cli.environ["DATABASE_URL"] = "postgres://127.0.0.1:1/x"
    cli.write("config.toml", WELL + DATABASE + 'timeouts = { start = "100ms" }\n')
    level, text = found(cli("doctor", "--json"))["plugins"]
    assert level == "fail"
    assert "no connection to" in text
    assert "start PostgreSQL there, or correct the url." in text


@pytest.mark.parametrize(("critical", "level"), [(True, "fail"), (False, "warn")])
def test_every_probe_is_run_once_and_those_that_fail_are_told(cli: Any, critical: bool, level: str) -> None:
    cli.write("config.toml", WELL + "[plugins.mine]\nenabled = true\n[plugins.health]\nenabled = true\n")
    cli.write("plugins/mine.py", PROBES.replace("CRITICAL", str(critical)))
    ended = cli("doctor", "--json")
    findings = found(ended)
    assert list(findings) == [*LOOKS, "store", "mailer", "payments"]
    way_out = "see that it is there, or correct the settings of its plugin"
    assert findings["store"][0] == "ok"
    assert findings["mailer"] == ("warn", f"10.1.2.3 refused; {way_out}")
    assert findings["payments"] == (level, f"does not answer within 0.05 s; {way_out}")
    assert "a word on standard output" in ended.err


def test_address_is_told_as_people_write_it(tmp_path: Any) -> None:
    assert str(Address("service.host", "127.0.0.1", 3000)) == "port 3000 on 127.0.0.1"
    assert str(Address("service.listen", path=tmp_path / "p.sock")) == f"{tmp_path}/p.sock"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says it")
def test_kernel_says_whether_the_clock_is_kept_in_time() -> None:
    assert machine.is_kept_in_time() in (True, False, None)
