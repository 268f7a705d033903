"""What is hidden tells nothing: neither by the order of rows, nor by a column elsewhere that refers to it."""

from __future__ import annotations

import pytest

from plugins.resources import Settings
from plugins.resources.schema.catalogue import ForeignKey
from plugins.resources.schema.selecting import select

ORDERED = """
CREATE TABLE bids (secret_amount int PRIMARY KEY, bidder text, note json);
INSERT INTO bids VALUES (3, 'Ada', '1'), (2, 'Bob', '2'), (1, 'Cid', '3'), (4, 'Cid', '4');
CREATE TABLE seats (hall int, seat int, guest text, PRIMARY KEY (hall, seat));
INSERT INTO seats VALUES (1, 2, 'a'), (2, 1, 'b'), (2, 2, 'c');
"""

PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, ssn text UNIQUE NOT NULL, name text);
CREATE TABLE claims (id int PRIMARY KEY, person text REFERENCES people (ssn), n int);
CREATE TABLE sessions (token text PRIMARY KEY);
CREATE TABLE logins (id int PRIMARY KEY, by_session text REFERENCES sessions);
INSERT INTO people VALUES (1, '123', 'Ada');
INSERT INTO claims VALUES (1, '123', 5);
INSERT INTO sessions VALUES ('abc');
INSERT INTO logins VALUES (1, 'abc');
"""


async def test_hidden_key_orders_no_list_whatever_it_is_sorted_by(serve):
    api = await serve(ORDERED, tables=["*"], table={"seats": {"hidden": "hall"}})
    for query in ("", "?sort=bidder"):
        assert [row["bidder"] for row in await api.rows(f"bids{query}")] == ["Ada", "Bob", "Cid", "Cid"], query
    assert [row["bidder"] for row in await api.rows("bids?sort=-bidder")] == ["Cid", "Cid", "Bob", "Ada"]
    assert [(row["seat"], row["guest"]) for row in await api.rows("seats")] == [(1, "b"), (2, "a"), (2, "c")]
    assert await api.faults("seats?cursor=x") == [
        ("cursor", "is not taken by seats, since its key is hidden; use page.")
    ]
    said = "seats is served as a list without items and cursors, since its key hall and seat is hidden."
    assert said in api.said


async def test_column_that_refers_to_a_hidden_one_is_hidden_as_well_and_that_is_said(serve):
    api = await serve(PEOPLE, tables=["claims", "logins", "people"], table={"people": {"hidden": "ssn"}})
    assert await api.rows("claims") == [{"id": 1, "n": 5}]
    assert await api.rows("logins") == [{"id": 1}]
    assert await api.rows("people") == [{"id": 1, "name": "Ada"}]
    assert await api.refused("POST", "claims", {"id": 2, "person": "123"}) == [("person", "is no field.")]
    assert [sentence for sentence in api.said if "refers to" in sentence] == [
        "claims: person hidden, because it refers to people.ssn, which is hidden; to show it, name it in "
        "fields = [...] under [plugins.resources.table.claims].",
        "logins: by_session hidden, because it refers to sessions.token, which is hidden; to show it, name it in "
        "fields = [...] under [plugins.resources.table.logins].",
    ]


async def test_column_that_refers_to_a_hidden_one_is_shown_where_fields_names_it(serve):
    table = {"people": {"hidden": "ssn"}, "claims": {"fields": ["id", "person"]}}
    api = await serve(PEOPLE, tables=["claims", "people"], table=table)
    assert await api.rows("claims") == [{"id": 1, "person": "123"}]
    assert not [sentence for sentence in api.said if "refers to" in sentence]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, {"a": ["id", "x"], "b": ["id", "y", "boss"], "c": ["id", "z"]}),
        ({"c": {"hidden": "z"}}, {"a": ["id"], "b": ["id", "boss"], "c": ["id"]}),
        ({"c": {"fields": ["id"]}}, {"a": ["id"], "b": ["id", "boss"], "c": ["id"]}),
        ({"c": {"fields": ["id", "z"]}}, {"a": ["id", "x"], "b": ["id", "y", "boss"], "c": ["id", "z"]}),
        ({"c": {"hidden": "z"}, "b": {"fields": ["y"]}}, {"a": ["id", "x"], "b": ["y"], "c": ["id"]}),
        ({"b": {"hidden": "id"}}, {"a": ["id", "x"], "b": ["y"], "c": ["id", "z"]}),
        ({"b": {"hidden": "y"}}, {"a": ["id"], "b": ["id", "boss"], "c": ["id", "z"]}),
    ],
)
def test_hidden_column_hides_what_leads_to_it_and_nothing_else(build, settings, shown):
    """Over several tables and within one; what `fields` names is meant to be seen, by whatever refers to it too."""

    def table(name, *columns, **references):
        keys = tuple(ForeignKey(column, (column,), *target) for column, target in references.items())
        return build.table(
            name, *[build.column(each, "int4", is_nullable=False) for each in columns], foreign_keys=keys
        )

    catalogue = build.catalogue(
        table("a", "id", "x", x=("b", ("y",))),
        table("b", "id", "y", "boss", y=("c", ("z",)), boss=("b", ("id",))),
        table("c", "id", "z"),
    )
    chosen = Settings.model_validate({"tables": ["*"], "table": settings})
    resources = select(catalogue, chosen, plugin="resources").resources
    assert {resource.name: list(resource.fields) for resource in resources} == shown
