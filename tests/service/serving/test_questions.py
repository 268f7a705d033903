"""Questions to a running service: who answers, in what time, and what a command hears; and what a command may open."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from service.api import PluginError, Run, opened
from service.channel import Ask, Told
from service.questions import MOST_BYTES, told

ANSWERING = """
    import asyncio, json, os
    from contextlib import asynccontextmanager
    import click
    from service.api import SERVING, ask_service, hookimpl

    class Plugin:
        def __init__(self, settings, run):
            self.run = run

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            serving = ports.need(SERVING)
            serving.answer("answering.pid", os.getpid)
            serving.answer("answering.environment", lambda: serving.about.environment)
            yield

        @hookimpl
        def commands(self, group):
            @group.command()
            @click.argument("question")
            def question(question):
                heard = ask_service(self.run, question)
                click.echo(json.dumps([list(heard.answers), list(heard.problems)]))
    """

PORT = """
    from contextlib import asynccontextmanager
    from typing import Protocol
    from service.api import PortKey, hookimpl

    BOX = PortKey("box")

    class Plugin:
        provides = (BOX,)

        def __init__(self, settings, run):
            self.run = run

        @hookimpl
        @asynccontextmanager
        async def household(self, run):
            yield "a household"

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            self.run.say(f"box opens in {self.run.household}")
            ports.provide(BOX, {"in": "the box"})
            yield
            self.run.say("box closes")
    """

USER = """
    import asyncio, json
    from contextlib import asynccontextmanager
    import click
    from service.api import NotFound, PortKey, hookimpl, opened

    BOX = PortKey("box")

    class Plugin:
        requires = (BOX,)

        def __init__(self, settings, run):
            self.run = run

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            raise AssertionError("a command has opened its own plugin")
            yield

        @hookimpl
        def commands(self, group):
            @group.group("box")
            def box():
                "What is in the box."

            @box.command()
            @click.option("--wrong", is_flag=True)
            def look(wrong):
                "Look into it."
                click.echo(asyncio.run(self.look(wrong)))

        async def look(self, wrong):
            async with opened(self.run) as ports:
                if wrong:
                    raise NotFound("There is nothing in it.")
                return json.dumps(ports.need(BOX))
    """

BYSTANDER = """
    from contextlib import asynccontextmanager
    import click
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            raise AssertionError("a command has opened a plugin that it does not need")
            yield

        @hookimpl
        def commands(self, group):
            box = click.Group("box")
            box.add_command(click.Command("shut", callback=lambda: click.echo("shut")))
            group.add_command(box)
    """


async def heard(service: Any, question: str) -> tuple[list[Any], list[str]]:
    code, out = await service.command("question", question)
    assert code == 0, out
    answers, problems = json.loads(out)
    return answers, problems


# --- what a command hears


async def test_question_is_answered_by_every_worker(start: Any) -> None:
    service = await (await start("--workers", "2", answering=ANSWERING)).served()
    answers, problems = await heard(service, "answering.pid")
    assert set(answers) == service.workers()
    assert problems == []


async def test_question_is_answered_by_the_generation_that_serves(start: Any) -> None:
    service = await (await start(answering=ANSWERING)).served()
    before = service.workers()
    assert (await service.command("reload"))[0] == 0
    answers, _ = await heard(service, "answering.pid")
    assert len(answers) == 1
    assert not set(answers) & before


async def test_question_that_nobody_answers_is_told_with_those_that_are(start: Any) -> None:
    service = await (await start(answering=ANSWERING)).served()
    (worker,) = service.workers()
    assert await heard(service, "answering.nothing") == (
        [],
        [
            f"The service of process {service.process.pid}, worker {worker}: nothing here answers answering.nothing; "
            "what is answered: answering.environment, answering.pid."
        ],
    )


async def test_worker_that_does_not_answer_in_time_is_told_and_the_others_are_heard(start: Any) -> None:
    service = await (await start("--workers", "2", answering=ANSWERING)).served()
    busy, other = await service.pids(2)
    os.kill(busy, signal.SIGSTOP)
    try:
        answers, problems = await heard(service, "answering.pid")
    finally:
        os.kill(busy, signal.SIGCONT)
    assert answers == [other]
    assert problems == [
        f"The service of process {service.process.pid}, worker {busy}: there is no answer to answering.pid within 2 s."
    ]
    assert set((await heard(service, "answering.pid"))[0]) == {busy, other}, "an answer that came late is another's"


async def test_service_that_does_not_answer_in_time_is_told(start: Any) -> None:
    service = await (await start(answering=ANSWERING)).served()
    service.send(signal.SIGSTOP)
    try:
        answers, problems = await heard(service, "answering.pid")
    finally:
        service.send(signal.SIGCONT)
    assert answers == []
    assert problems == [f"The service of process {service.process.pid} does not answer within 3 s."]


async def test_without_a_service_a_question_says_so(start: Any) -> None:
    service = await (await start(answering=ANSWERING)).served()
    service.send(signal.SIGINT)
    await service.ended()
    assert await heard(service, "answering.pid") == ([], ["No service runs with this config.toml and its state_dir."])


# --- an answer


@pytest.mark.parametrize(
    ("function", "answer", "problem"),
    [
        (lambda: {"a": [1, None]}, '{"a":[1,null]}', ""),
        (lambda: "x" * (MOST_BYTES - 2), f'"{"x" * (MOST_BYTES - 2)}"', ""),
        (lambda: "x" * (MOST_BYTES - 1), None, "the answer to q has 262145 bytes, more than 262144"),
    ],
)
def test_answer_is_plain_data_of_a_bounded_size(function: Any, answer: str | None, problem: str) -> None:
    assert told({"q": function}, Ask(7, "q")) == Told(7, answer, problem)


def fail() -> object:
    raise RuntimeError("secret")


@pytest.mark.parametrize("function", [fail, object], ids=["raises", "gives no plain data"])
def test_answer_that_fails_is_in_the_log_and_not_in_what_is_told(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert told({"q": function}, Ask(1, "q")) == Told(
        1, None, "the answer to q failed; the log of the service says why"
    )
    assert [record.getMessage() for record in caplog.records] == ["The question q could not be answered."]
    assert caplog.records[0].exc_info


def test_question_where_nobody_answers_any_says_so() -> None:
    problem = "nothing here answers q; what is answered: no question at all"
    assert told({}, Ask(1, "q")) == Told(1, None, problem)


# --- what a command opens


async def test_service_has_its_ports_in_its_lifespan(make_service: Any) -> None:
    class Hello:
        class Plugin:
            def __init__(self, settings: Any, run: Run) -> None:
                self.run = run

    service = await make_service([Hello])
    with pytest.raises(PluginError, match=r"^plugin hello opens its ports in a service; there they come"):
        async with opened(service.application.loaded["hello"].plugin.run):
            raise AssertionError("It did open them.")


async def test_command_opens_what_its_plugin_needs_and_nothing_else(start: Any, tmp_path: Path) -> None:
    """Neither itself nor those that it does not need; what these say goes to standard error, once."""
    service = await start(port=PORT, user=USER, bystander=BYSTANDER)
    await service.ended()  # two of the three do not open
    code, out = await service.command("box", "look")
    assert (code, sorted(out.splitlines())) == (0, ["box closes", "box opens in a household", '{"in": "the box"}'])


async def test_groups_of_one_name_become_one(start: Any) -> None:
    service = await start(port=PORT, user=USER, bystander=BYSTANDER)
    await service.ended()
    assert await service.command("box", "shut") == (0, "shut\n")
    code, out = await service.command("box", "--help")
    assert code == 0
    assert "What is in the box." in out
    assert "look  Look into it." in out
    assert "shut" in out


async def test_error_of_what_a_command_opened_is_its_sentence(start: Any) -> None:
    service = await start(port=PORT, user=USER)
    await service.ended()
    code, out = await service.command("box", "look", "--wrong")
    assert (code, out) == (69, "box opens in a household\nbox closes\npegboard: There is nothing in it.\n")
