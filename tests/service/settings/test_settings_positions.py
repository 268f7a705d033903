"""Every key path of a TOML file has its line, whatever way it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings.positions import Document

TOML = """\
top.dotted.key = 1
"quoted.key" = 2

[plugins.database]       # a comment
pool = { min = 1, max.a = 2, list = [{ x = 1 }, { x = 2 }] }
'single' = 3
"p\\u00e4th" = 4
tables = [
  "a",   # one
  "b",
  { env = "X" },
]
when = 2026-01-01T00:00:00Z
text = \"\"\"
[not.a.table]
\"\"\"

[[items]]
id = 1
[[items.parts]]
id = "a"
[[items.parts]]
id = "b"
[items.parts.box]
size = 5
[[items]]
id = 2
[[items.parts]]
id = "c"
[env."a b".plugins.x]
y = 1
"""

LINES = {
    ("top", "dotted", "key"): 1,
    ("quoted.key",): 2,
    ("plugins", "database"): 4,
    ("plugins", "database", "pool"): 5,
    ("plugins", "database", "pool", "max", "a"): 5,
    ("plugins", "database", "pool", "list", 1, "x"): 5,
    ("plugins", "database", "single"): 6,
    ("plugins", "database", "päth"): 7,
    ("plugins", "database", "tables", 0): 9,
    ("plugins", "database", "tables", 1): 10,
    ("plugins", "database", "tables", 2, "env"): 11,
    ("plugins", "database", "when"): 13,
    ("items", 0, "id"): 19,
    ("items", 0, "parts", 0, "id"): 21,
    ("items", 0, "parts", 1, "id"): 23,
    ("items", 0, "parts", 1, "box", "size"): 25,
    ("items", 1, "id"): 27,
    ("items", 1, "parts", 0, "id"): 29,
    ("env", "a b", "plugins", "x", "y"): 31,
}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_every_key_path_has_its_line(end: str) -> None:
    document = Document(Path("config.toml"), TOML.replace("\n", end))
    found = {path: document.spots[path].line for path in LINES}
    assert found == LINES
    assert not [path for path in document.spots if "not" in path]


def test_a_path_that_is_not_there_has_the_place_around_it() -> None:
    document = Document(Path("config.toml"), TOML)
    spot = document.spot(("plugins", "database", "pool", "nothing", "here"))
    assert spot is not None
    assert spot.line == 5
    assert document.spot(("nothing",)) is None


def test_forms_tell_how_a_table_is_written() -> None:
    spots = Document(Path("config.toml"), TOML).spots
    assert spots["plugins",].form == "implied"
    assert spots["plugins", "database"].form == "header"
    assert spots["plugins", "database", "pool"].form == "inline"
    assert spots["top", "dotted"].form == "dotted"
    assert spots["plugins", "database", "tables", 0].form == "item"
    assert spots["quoted.key",].form == "value"
