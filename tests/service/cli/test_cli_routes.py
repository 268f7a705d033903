"""`pegboard routes`: the table of routes, and the steps around each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STEPS = """
import functools
from service.api import Answer, Check, Door, Finish, Release, Route, Slot, hookimpl

def stamp(request, answer, *, text):
    answer.add("X-Stamp", text)

class Plugin:
    @hookimpl
    def routes(self):
        print("a word on standard output")
        yield Route("GET", "hello", self._hello, name="hello", summary="Says hello.", reads=("greetings",))
        yield Route("GET", "/alive", self._hello, name="alive", door=Door.PROBE)

    @hookimpl
    def steps(self, route):
        yield Release(Slot.RATION, self._give_back)
        yield Finish(Slot.RECEIVE, functools.partial(stamp, text="x"))
        yield Check(Slot.ADMIT, self._admit)

    def _hello(self, request):
        return Answer.json({})

    def _admit(self, request):
        return None

    def _give_back(self, request):
        pass
"""


def prepare(cli: Any) -> None:
    cli.write("config.toml", "[plugins.mine]\nenabled = true\n")
    cli.write("plugins/mine.py", STEPS)


def test_routes_lists_what_would_be_served(cli: Any) -> None:
    prepare(cli)
    ended = cli("routes")
    assert ended.code == 0, ended.err
    assert [line.split() for line in ended.out.splitlines()] == [
        ["GET", "/api/v1/hello", "hello", "mine", "API"],
        ["GET", "/alive", "alive", "mine", "PROBE"],
    ]


def test_routes_json_stays_parseable_whatever_plugins_print(cli: Any) -> None:
    prepare(cli)
    ended = cli("routes", "--json")
    row = ended.json[0]
    assert "a word on standard output" in ended.err
    assert (row["summary"], row["reads"], row["version"]) == ("Says hello.", ["greetings"], "v1")


def test_steps_stand_by_slot_with_the_plugin_that_put_them_there(cli: Any) -> None:
    prepare(cli)
    rows = {row["name"]: row["steps"] for row in cli("routes", "--steps", "--json").json}
    hello = [(step["slot"], step["kind"], step["function"], step["plugin"]) for step in rows["hello"]]
    assert hello == [
        ("RECEIVE", "finish", "stamp", "mine"),
        ("ADMIT", "check", "Plugin._admit", "mine"),
        ("RATION", "release", "Plugin._give_back", "mine"),
        ("handler", "handler", "Plugin._hello", "mine"),
    ]
    assert [step["slot"] for step in rows["alive"]] == ["RECEIVE", "handler"]


def test_steps_include_what_matches_nothing(cli: Any) -> None:
    prepare(cli)
    text = cli("routes", "--steps").out
    assert "unmatched" in text
    assert "unmatched" not in cli("routes").out
    assert "ADMIT      check    Plugin._admit (mine)" in text


def test_routes_of_tables_come_from_the_database(cli: Any, make_database: Callable[[str], str]) -> None:
    cli.environ["DATABASE_URL"] = make_database("CREATE TABLE pets (id int PRIMARY KEY);")
    cli.write(
        "config.toml",
        '[plugins.database]\nenabled = true\nurl = { env = "DATABASE_URL" }\n'
        '[plugins.resources]\nenabled = true\ntables = ["pets"]\n',
    )
    ended = cli("routes", "--json")
    assert ended.code == 0, ended.err
    assert {"/api/v1/pets", "/api/v1/pets/{id}"} <= {row["path"] for row in ended.json}
