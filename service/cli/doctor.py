"""`pegboard doctor`: is this machine fit to run the service, and does everything that it needs answer?"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import click
from rich.text import Text

from service.chosen import Chosen
from service.cli import machine
from service.cli.looking import opened, stdout_kept_clean
from service.cli.machine import Finding, Level
from service.cli.options import json_option, reads_config
from service.cli.printing import console, print_json
from service.control import ControlError, ask, control_folder, running
from service.errors import SettingsError, StartError
from service.listening import ListenError, addresses, bind, listen
from service.loader import Loaded
from service.parts import Probe
from service.protocol import SPARE_FILES
from service.settings import Settings

FAILED: Final = 1
"""Exit code where something fails."""

ANSWER_S: Final = 2.0
"""How long a running service may take to say where it listens (chosen)."""

STYLES: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@click.command(short_help="Look whether the service could run here.")
@reads_config
@json_option
def doctor(chosen: Chosen, *, as_json: bool) -> int:
    """Look at the machine, the settings and what the plugins depend on: one line each, with the way out.

    Opens the plugins as a service would, runs every health check once, and serves nothing. The exit code is 1 where
    something fails; warnings leave it 0.

    \b
    Example:
      pegboard doctor
      pegboard doctor --env production --json
    """
    findings: list[Finding] = []
    for finding in looks(chosen):
        findings.append(finding)
        if not as_json:
            _print(finding)
    fails = any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not fails, "findings": [asdict(finding) for finding in findings]})
    return FAILED if fails else 0


def looks(chosen: Chosen) -> Iterator[Finding]:
    """Every look, one after the other; what needs settings is not looked at where these are faulty."""
    yield machine.interpreter()
    yield from machine.packages(machine.own_requirements())
    yield machine.parser()
    yield (loop := machine.event_loop())
    yield machine.clock(time.time(), after_s=machine.own_code_written_at())
    try:
        loaded = chosen.load()
    except StartError as error:
        yield Finding(Level.FAIL, "settings", _one_line(error))
        return
    yield settings_of(loaded)
    yield machine.open_files(files_wanted(loaded.settings))
    yield machine.state_folder(loaded.run.state_dir)
    yield machine.disk(loaded.run.state_dir)
    yield from listeners_of(loaded.settings)
    if loop.level is not Level.FAIL:
        yield from plugins_of(chosen)


def settings_of(loaded: Loaded) -> Finding:
    settings = loaded.settings
    count = len(settings.warnings)
    text = f"{settings.config_path} in environment {settings.environment}"
    if count:
        return Finding(Level.WARN, "settings", f"{text}: {count} notes, which pegboard check prints")
    return Finding(Level.OK, "settings", text)


def files_wanted(settings: Settings) -> int:
    """How many files a worker would have open with all the connections that it may have, and what else it opens."""
    listeners = addresses(settings.service, settings.config_path.parent)
    return settings.service.limits.connections * len(listeners) + SPARE_FILES


def listeners_of(settings: Settings) -> Iterator[Finding]:
    """Whether each address is free, or this very service has it."""
    owners = _owners(settings)
    for name, address in addresses(settings.service, settings.config_path.parent).items():
        try:
            with bind(address) as sock:
                listen(sock, address)
            if address.path is not None:
                address.path.unlink()
        except ListenError as error:
            if (pid := owners.get(str(address))) is None:
                yield Finding(Level.FAIL, name, _one_line(error))
            else:
                yield Finding(Level.OK, name, f"{address} is this service's, which runs as process {pid}")
        else:
            yield Finding(Level.OK, name, f"{address} is free" if address.port or address.path else "any port will do")


def _owners(settings: Settings) -> dict[str, int]:
    """The process of each address at which a service with this state_dir listens, as far as this user may know."""
    try:
        services = running(control_folder(settings))
    except ControlError:
        return {}
    return {address: pid for pid, sock in services.items() for address in _addresses_of(sock)}


def _addresses_of(sock: socket.socket) -> list[str]:
    """Where the service at the other end listens; nothing where it does not say."""
    sock.settimeout(ANSWER_S)
    try:
        return ask(sock, {"do": "addresses"}).text.splitlines()
    except ControlError:
        return []


def plugins_of(chosen: Chosen) -> list[Finding]:
    """What comes of opening them, and of every probe."""
    import uvloop  # here: where it is missing, a look says so

    with stdout_kept_clean(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_open_and_probe(chosen))


async def _open_and_probe(chosen: Chosen) -> list[Finding]:
    try:
        async with opened(chosen, say=_say) as application:
            names = ", ".join(application.state.about.plugins) or "none is on"
            results = await asyncio.gather(*[probed(each) for each in application.state.probes])
            return [Finding(Level.OK, "plugins", f"opened: {names}"), *results]
    except StartError as error:
        return [Finding(Level.FAIL, "plugins", _one_line(error))]


async def probed(probe: Probe) -> Finding:
    """Run it once, within its timeout."""
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(probe.timeout_s):
            await probe.check()
    except Exception as error:
        level = Level.FAIL if probe.critical else Level.WARN
        reason = _one_line(error) or type(error).__name__
        text = f"does not answer within {probe.timeout_s:g} s" if isinstance(error, TimeoutError) else reason
        return Finding(level, probe.name, f"{text}; see that it is there, or correct the settings of its plugin")
    return Finding(Level.OK, probe.name, f"answers in {(time.monotonic() - began_s) * 1000:.1f} ms")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def _one_line(error: BaseException) -> str:
    """What it says, on one line; of many faults, how many and who tells them all."""
    told = str(error).split("\n\n")
    if isinstance(error, SettingsError) and len(told) > 1:
        return f"{len(told) - 1} faults; pegboard check prints them, each with the line to write"
    return " ".join(str(error).split())


def _print(finding: Finding) -> None:
    console().print(
        Text.assemble((f"{finding.level:<4}", STYLES[finding.level]), f"  {finding.what:<9}  ", finding.text)
    )
