"""What commands of plugins may do: open what their plugin needs, and ask the service that runs.

@hookimpl
def commands(self, group):
    @group.command()
    def count():
        click.echo(asyncio.run(self._count()))

async def _count(self):
    async with opened(self._run) as ports:
        rows = await ports.need(DATABASE).fetch("SELECT count(*) FROM users")
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import orjson

from service.chosen import Chosen
from service.control import FOLDER, ask, running
from service.errors import DependencyError, PluginError, ServiceError, StartError
from service.ports import Ports
from service.questions import ANSWER_S
from service.run import Run, Tasks

GRACE_S: Final = 1.0
"""How much longer a supervisor may take than its workers (chosen)."""


@asynccontextmanager
async def opened(run: Run) -> AsyncIterator[Ports]:
    """The ports of the plugin whose `run` this is, with what it requires and uses open: no routes, no sockets, and not
    the plugin itself. What these have to say goes to standard error. Raises StartError, also for a ServiceError that
    the block raises: a command ends with that sentence.
    """
    if run.serves:
        raise PluginError(f"plugin {run.name} opens its ports in a service; there they come with its lifespan.")
    from service.app import household, open_for  # inside: plugins import this file, and few have commands

    said: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in said:  # plugins are made twice where one has a household
            said.add(sentence)
            sys.stderr.write(f"{sentence}\n")

    chosen, tasks = Chosen.usual(), Tasks()
    loaded = chosen.load(tasks=tasks, say=say)
    async with household(loaded.needed_by(run.name)) as yielded:
        if yielded:
            loaded = chosen.load(tasks=tasks, say=say, household=yielded)
        async with open_for(loaded, run.name, tasks=tasks) as ports:
            try:
                yield ports
            except ServiceError as error:
                raise DependencyError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a question."""

    answers: tuple[object, ...]
    """What each worker of each service answered that runs with the same config.toml: plain data."""
    problems: tuple[str, ...]
    """Why there are none, or no more: sentences."""


def ask_service(run: Run, question: str) -> Heard:
    """Ask what a plugin answers to `question` in a running service (`SERVING.answer`), within seconds. Raises nothing:
    a service that cannot be asked is a problem that the command tells."""
    answers: list[object] = []
    problems: list[str] = []
    try:
        services = running(run.state_dir.absolute() / FOLDER)
    except StartError as error:
        return Heard((), (str(error),))
    for pid, sock in services.items():
        sock.settimeout(ANSWER_S + GRACE_S)
        try:
            reply = ask(sock, {"do": "ask", "question": question})
        except StartError:
            problems.append(f"The service of process {pid} does not answer within {ANSWER_S + GRACE_S:g} s.")
        else:
            answers += [orjson.loads(answer) for answer in reply.answers]
            problems += [f"The service of process {pid}, {line}." for line in reply.text.splitlines()]
    if not services:
        problems.append("No service runs with this config.toml and its state_dir.")
    return Heard(tuple(answers), tuple(problems))
