"""The contract can fail: for each clause a plugin that breaks it, and what is then said."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import pytest_asyncio

from service.answers import Answer
from service.testing import PluginContract, held

HEAD = '"""Break the contract."""\n'

DOUBLED = """
from typing import Annotated
from pydantic import AfterValidator
from service.api import PluginSettings

class Settings(PluginSettings):
    size: Annotated[int, AfterValidator(lambda size: 2 * size)] = 1
    "How much."

class Plugin: ...
"""

LENIENT = DOUBLED.replace("AfterValidator(lambda size: 2 * size)", "BeforeValidator(len)").replace(
    "import AfterValidator", "import BeforeValidator"
)

OPEN = """
from service.api import PluginSettings

class Settings(PluginSettings):
    model_config = {"extra": "allow"}

class Plugin: ...
"""

UNDOCUMENTED = """
from service.api import PluginSettings

class Inner(PluginSettings):
    size: int = 1

class Settings(PluginSettings):
    inner: Inner = Inner()

class Plugin: ...
"""

LEAVES_A_HEADER = """
from service.api import Answer

made = Answer.json

def marked(*arguments, **named):
    answer = made(*arguments, **named)
    answer.add("X-Left", "yes")
    return answer

Answer.json = marked

class Plugin: ...
"""

PLAIN = "class Plugin: ...\n"

NEEDS_ANOTHER = """
from service.api import PortKey

class Plugin:
    requires = (PortKey("dragged"),)
"""

DRAGS_IN = """
from contextlib import asynccontextmanager
from pathlib import Path
from service.api import PortKey, hookimpl
from service.sources import _load_file

class Plugin:
    provides = (PortKey("dragged"),)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        ports.provide(self.provides[0], _load_file(Path(__file__).with_name("broken.py")))
        yield
"""

ASKS_A_HOOK = """
from service.api import Answer, Route, hookimpl

class Plugin:
    @hookimpl
    def routes(self):
        return [Route("GET", "asks", self._ask, name="asks")]

    def _ask(self, request):
        return Answer.json(len(self.routes()))
"""

ANSWERS_WITH_AN_OBJECT = """
from contextlib import asynccontextmanager
from service.api import SERVING, hookimpl

class Plugin:
    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        ports.need(SERVING).answer("broken.self", lambda: self)
        yield
"""

OPENS_WHEN_MADE = """
import os

kept = []

class Plugin:
    def __init__(self):
        kept.append(open(os.devnull))
"""


def opens(what: str, closing: str = "pass") -> str:
    return f"""
import asyncio, logging, os, signal, socket, sys, threading
from contextlib import asynccontextmanager
from aiohttp import ClientSession
from service.api import hookimpl

kept = []

class Plugin:
    declared = False

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        opened = {what}
        yield
        {closing}

    @hookimpl
    def routes(self):
        self.declared = True
"""


@pytest_asyncio.fixture
async def break_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[str, str], Path]]:
    """Writes the plugin `broken` and its readme; what the plugin leaves behind is taken away in the end."""

    def write(code: str, readme: str) -> Path:
        (tmp_path / "plugins" / "broken.py").write_text(dedent(code))
        (tmp_path / "plugins" / "drags.py").write_text(DRAGS_IN)
        (tmp_path / "README.md").write_text(readme)
        return tmp_path / "README.md"

    monkeypatch.setattr(Answer, "json", Answer.json)
    monkeypatch.setenv("BROKEN", "")
    (tmp_path / "plugins").mkdir()
    yield write
    for name in [name for name in sys.modules if name.endswith(("_broken", "_drags"))]:
        for each in getattr(sys.modules.pop(name), "kept", ()):
            getattr(each, "close", list)()
    for task in [task for task in asyncio.all_tasks() if task.get_name() == "left"]:
        task.cancel()
    for handler in [handler for handler in logging.root.handlers if isinstance(handler, logging.NullHandler)]:
        logging.root.removeHandler(handler)
    logging.getLogger("broken").setLevel(logging.NOTSET)


SETTINGS = "test_settings_come_back_as_they_were_written"
SCHEMA = "test_settings_have_a_json_schema_that_takes_them"
REFUSE = "test_settings_refuse_a_key_that_they_do_not_have"
DOCUMENTS = "test_documentation_names_every_setting_and_no_other"
OFF = "test_off_leaves_no_route_no_header_no_probe_and_no_import"
HOOKS = "test_no_hook_is_called_while_requests_are_served"
QUESTIONS = "test_questions_are_answered_with_plain_data"
MAKING = "test_making_it_opens_nothing"
CLOSED = "test_what_it_opens_is_closed"
FAILED = "test_what_it_opened_is_closed_after_a_failed_start"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("clause", "code", "facts", "said"),
    [
        (SETTINGS, HEAD + DOUBLED, {"settings": {"size": 3}}, "size=6"),
        (SCHEMA, HEAD + LENIENT, {"settings": {"size": "large"}}, "'large'"),
        (REFUSE, HEAD + OPEN, {}, "DID NOT RAISE"),
        (DOCUMENTS, HEAD + UNDOCUMENTED, {}, "without a docstring below the field"),
        (DOCUMENTS, PLAIN, {}, "the module has no docstring"),
        (DOCUMENTS, HEAD + DOUBLED, {"readme": "`length` is how long.\n"}, "not named in README.md"),
        (DOCUMENTS, '"""Break it.\n\n    [plugins.broken]\n    sise = 1\n"""\n' + PLAIN, {}, "sise"),
        (DOCUMENTS, HEAD + PLAIN, {"readme": '```toml\n[routes."*"]\nbroken = { on = 1 }\n```\n'}, 'under .routes."*"'),
        (OFF, HEAD + LEAVES_A_HEADER, {}, "x-left"),
        (OFF, HEAD + NEEDS_ANOTHER, {"beside": {"drags": {}}}, "imported while it was off"),
        (HOOKS, HEAD + ASKS_A_HOOK, {}, "the hook routes of broken"),
        (QUESTIONS, HEAD + ANSWERS_WITH_AN_OBJECT, {}, "the answer to broken.self failed"),
        (MAKING, HEAD + OPENS_WHEN_MADE, {}, "/dev/null"),
        (CLOSED, HEAD + opens("asyncio.create_task(asyncio.sleep(100), name='left')"), {}, "task left"),
        (CLOSED, HEAD + opens("kept.append(open(os.devnull))"), {}, "open: /dev/null"),
        (CLOSED, HEAD + opens("socket.socket()"), {}, "unclosed <socket"),
        (CLOSED, HEAD + opens("ClientSession()"), {}, "Unclosed client session"),
        (CLOSED, HEAD + opens("logging.root.addHandler(logging.NullHandler())"), {}, "logger root has the handler"),
        (CLOSED, HEAD + opens("kept.append(logging.getLogger('broken').setLevel(len(kept)))"), {}, "logger broken "),
        (CLOSED, HEAD + opens("os.environ.update(BROKEN=os.urandom(4).hex())"), {}, "the variable BROKEN"),
        (FAILED, HEAD + opens("socket.socket()", "if self.declared: opened.close()"), {}, "unclosed <socket"),
    ],
)
async def test_clause_fails_for_a_plugin_that_breaks_it(
    break_it: Callable[[str, str], Path],
    write_config: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    clause: str,
    code: str,
    facts: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.setattr(held, "PATIENCE_S", 0.1)
    readme = break_it(code, facts.get("readme", ""))
    if "readme" in facts:
        facts = {"readme": readme}
    contract = type("TestBroken", (PluginContract,), {"plugin": "broken", **facts})()
    given = {"write_config": write_config, "environ": {}, "headers": {}, "tmp_path": tmp_path}
    arguments = {name: given[name] for name in inspect.signature(getattr(contract, clause)).parameters}
    with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
        await getattr(contract, clause)(**arguments)


def test_every_clause_is_shown_to_fail() -> None:
    """A new clause comes with a plugin that breaks it."""
    (mark,) = [
        mark
        for mark in test_clause_fails_for_a_plugin_that_breaks_it.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    ]
    assert {case[0] for case in mark.args[1]} == {name for name in dir(PluginContract) if name.startswith("test_")}


def test_contract_without_a_plugin_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r'TestNothing does not say which plugin it is about; write: plugin = "hello"'):
        type("TestNothing", (PluginContract,), {})
