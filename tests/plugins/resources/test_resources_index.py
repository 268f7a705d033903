"""What the list of resources tells of each of them, field by field."""

from __future__ import annotations

SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE things (id bigint PRIMARY KEY, size int, price numeric, ratio float8, mood mood, secret text);
COMMENT ON TABLE things IS 'What is sold; "as is"';
COMMENT ON COLUMN things.price IS 'In euros';
COMMENT ON COLUMN things.secret IS 'hunter2';
CREATE TABLE plain (id int PRIMARY KEY);
"""


async def test_index_tells_comments_of_what_is_shown(serve):
    api = await serve(SCHEMA, tables=["*"])
    _, index = await api.get("")
    assert {row["name"]: row["description"] for row in index["data"]} == {
        "plain": None,
        "things": 'What is sold; "as is"',
    }
    [_, things] = index["data"]
    told = {field["name"]: field.get("description") for field in things["fields"]}
    assert told == {"id": None, "size": None, "price": "In euros", "ratio": None, "mood": None}
    assert "hunter2" not in str(index)


async def test_index_tells_which_numbers_are_shown_as_text(serve):
    api = await serve(SCHEMA, tables=["things"], table={"things": {"bigint": "string"}})
    _, index = await api.get("")
    fields = {field["name"]: (field["type"], field.get("shownAs")) for field in index["data"][0]["fields"]}
    assert fields == {
        "id": ("integer", "text"),
        "size": ("integer", None),
        "price": ("number", "text"),
        "ratio": ("number", None),
        "mood": ("enum", None),
    }
    row = {"id": "1", "size": 2, "price": "3.50", "ratio": 0.5, "mood": "sad"}
    assert await api.send("POST", "things", row) == (201, row)


async def test_field_is_read_only_where_no_action_writes_it(serve):
    api = await serve(SCHEMA, tables=["*"], table={"things": {"writes": ["update"]}, "plain": {"writes": ["create"]}})
    _, index = await api.get("")
    read_only = {row["name"]: [field["name"] for field in row["fields"] if field["readOnly"]] for row in index["data"]}
    assert read_only == {"plain": [], "things": ["id"]}
