"""Trees of filters in JSON: what they mean, and every fault of theirs with the place where it is."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.resources import Settings
from plugins.resources.parse.filters import MAX_LEAVES, MAX_VALUES, Filter, Group
from plugins.resources.parse.query import parse_list
from plugins.resources.plan.conditions import condition_of
from plugins.resources.schema.selecting import select


def read(text, resource):
    """The conditions, and fields and messages of the faults."""
    faults = []
    parsed = parse_list(f"filter={quote(text)}", resource, faults, ())
    return parsed.conditions, [(fault.field, fault.message) for fault in faults]


def shape(condition):
    """The tree as tuples."""
    if isinstance(condition, Filter):
        return condition.field.name, condition.operator, condition.value
    return ("or" if condition.is_any else "and", *[shape(member) for member in condition.members])


def meant(text, resource):
    conditions, faults = read(text, resource)
    assert faults == []
    (tree,) = conditions
    return shape(tree)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('{"name": "x"}', ("name", "eq", "x")),
        ('{"name": {"eq": "x"}}', ("name", "eq", "x")),
        ('{"price": {"gte": 1, "lt": 9.50}}', ("and", ("price", "gte", "1"), ("price", "lt", "9.50"))),
        ('{"name": "x", "id": 7}', ("and", ("name", "eq", "x"), ("id", "eq", "7"))),
        ('{"or": [{"price": {"lt": 10}}, {"and": [{"name": "x"}, {"tags": {"has": "a"}}]}]}',
         ("or", ("price", "lt", "10"), ("and", ("name", "eq", "x"), ("tags", "has", "a")))),
        ('{"or": [{"id": 1, "name": "a"}, {"id": 2}], "price": {"null": true}}',
         ("and", ("or", ("and", ("id", "eq", "1"), ("name", "eq", "a")), ("id", "eq", "2")),
          ("price", "null", "true"))),
        ('{"or": [{"id": 1}]}', ("id", "eq", "1")),
        ('{"and": [{"or": [{"or": [{"and": [{"or": [{"id": 1}, {"id": 2}]}]}]}]}]}',
         ("or", ("id", "eq", "1"), ("id", "eq", "2"))),
        # values are of JSON's own kinds; numbers keep their digits and may be text
        ('{"price": 12345678901234567890.1234567890}', ("price", "eq", "12345678901234567890.1234567890")),
        ('{"price": 1e2}', ("price", "eq", "1e2")),
        ('{"price": "1.10"}', ("price", "eq", "1.10")),
        ('{"id": "007"}', ("id", "eq", "7")),
        ('{"id": -0}', ("id", "eq", "0")),
        ('{"isNew": true}', ("isNew", "eq", "true")),
        ('{"name": ""}', ("name", "eq", "")),
        ('{"name": "a,b\\\\"}', ("name", "eq", "a,b\\")),
        ('{"madeAt": {"gt": "2026-01-31"}}', ("madeAt", "gt", "2026-01-31T00:00:00+00")),
        ('{"state": "sad"}', ("state", "eq", "sad")),
        # lists
        ('{"name": {"in": ["a,b", "c"]}}', ("name", "in", ("a,b", "c"))),
        ('{"id": {"nin": [1, "2"]}}', ("id", "nin", ("1", "2"))),
        ('{"id": {"in": []}}', ("id", "in", ())),
        ('{"price": {"between": [1, 2]}}', ("price", "between", ("1", "2"))),
        ('{"scores": {"overlaps": [1, 2]}}', ("scores", "overlaps", ("1", "2"))),
        ('{"scores": {"null": false}}', ("scores", "null", "false")),
        # names of parameters are names of fields here
        ('{"page": 5}', ("page", "eq", "5")),
    ],
)  # fmt: skip
def test_tree_means_what_it_says(items, text, tree):
    assert meant(text, items) == tree


def test_tree_stands_beside_the_other_filters(items):
    faults = []
    parsed = parse_list('id=7&filter={"or":[{"id":1},{"name":"b"}]}&price[gt]=1', items, faults, ())
    assert faults == []
    assert [shape(each) for each in parsed.conditions] == [
        ("id", "eq", "7"),
        ("price", "gt", "1"),
        ("or", ("id", "eq", "1"), ("name", "eq", "b")),
    ]


def test_fields_called_and_and_or_are_fields_where_no_list_follows(build):
    table = build.table("words", build.column("id", "int4"), build.column("and"), build.column("or", "text[]"))
    (resource,) = select(build.catalogue(table), Settings.model_validate({"tables": ["words"]}), plugin="x").resources
    assert meant('{"and": "x"}', resource) == ("and", "eq", "x")
    assert meant('{"or": {"has": "x"}}', resource) == ("or", "has", "x")
    assert meant('{"or": [{"and": "x"}, {"id": 1}]}', resource) == ("or", ("and", "eq", "x"), ("id", "eq", "1"))


NUMBERS = "eq, ne, gt, gte, lt, lte, in, nin, between, null"
OBJECT = 'must be an object of conditions, such as {"FIELD": {"OPERATOR": VALUE}}.'
VALUE = 'must be a value or an object of operators, such as {"in": [VALUE, VALUE]}.'
NO_NULL = 'must not be null; write {"null": true}.'
LISTS = '{"or":[' * 5 + '{"or":[{"id":1}]}' + "]}" * 5

HOSTILE = [
    # JSON of every malformed kind
    ("", "filter", "is not JSON at line 1, column 1: expecting value."),
    ("{", "filter", "is not JSON at line 1, column 2: expecting property name enclosed in double quotes."),
    ("{'id':1}", "filter", "is not JSON at line 1, column 2: expecting property name enclosed in double quotes."),
    ('{"id":1}x', "filter", "is not JSON at line 1, column 9: extra data."),
    ('{"id":NaN}', "filter", "has NaN, which is no JSON number."),
    ('{"id":-Infinity}', "filter", "has -Infinity, which is no JSON number."),
    ('{"id":1,"id":2}', "filter", "has the name id twice in one object."),
    ('{"name":"\\u0000"}', "filter", "has a NUL character in a text."),
    ('{"name":"\\ud800"}', "filter", "has half of a surrogate pair in a text."),
    ('{"id":1e9999}', "filter", "has a number of more than 400 digits: 1e9999."),
    ('{"id":' + "9" * 401 + "}", "filter", f"has a number of more than 400 digits: {'9' * 100}...."),
    ("[" * 1000, "filter", "has more than 64 objects and lists inside each other."),
    # other things than conditions
    ("[]", "filter", OBJECT),
    ("null", "filter", OBJECT),
    ('"id"', "filter", OBJECT),
    ("7", "filter", OBJECT),
    ("{}", "filter", "has no conditions."),
    ('{"or":[]}', "filter.or", "has no conditions."),
    ('{"or":[{}]}', "filter.or[0]", "has no conditions."),
    ('{"or":[{"id":1},[]]}', "filter.or[1]", OBJECT),
    ('{"or":[1]}', "filter.or[0]", OBJECT),
    ('{"or":{"id":1}}', "filter.or", "must be a list of conditions."),
    ('{"and":null}', "filter.and", "must be a list of conditions."),
    ('{"not":[{"id":1}]}', "filter.not", "names not, which is no field."),
    # fields and operators
    ('{"nmae":"x"}', "filter.nmae", "names nmae, which is no field; did you mean name?"),
    ('{"password":"x"}', "filter.password", "names password, which is no field."),
    ('{"":1}', "filter.", "names an empty name, which is no field."),
    ('{"id\\"; DROP":1}', 'filter.id"; DROP', 'names id"; DROP, which is no field.'),
    ('{"or":[{"price":{"foo":1}}]}', "filter.or[0].price.foo", f"has no operator foo; it takes {NUMBERS}."),
    ('{"price":{"like":"1"}}', "filter.price.like",
     f"is of kind number and has no operator like; it takes {NUMBERS}."),
    ('{"price":{}}', "filter.price", 'must have an operator, such as {"eq": VALUE}.'),
    ('{"price":[1]}', "filter.price", VALUE),
    ('{"price":{"gt":{"lt":1}}}', "filter.price.gt", "must be a single value."),
    ('{"meta":{"a":1}}', "filter.meta.a", "has no operator a; it takes null."),
    ('{"tags":"a"}', "filter.tags", "is of kind array and has no operator eq; it takes has, overlaps, null."),
    # values
    ('{"id":null}', "filter.id", NO_NULL),
    ('{"id":{"in":[1,null]}}', "filter.id.in", NO_NULL),
    ('{"id":{"null":null}}', "filter.id.null", "must be true or false."),
    ('{"id":{"null":"true"}}', "filter.id.null", "must be true or false."),
    ('{"id":1.5}', "filter.id", "must be an integer."),
    ('{"id":1.0}', "filter.id", "must be an integer."),
    ('{"id":true}', "filter.id", "must be a number."),
    ('{"id":2147483648}', "filter.id", "must be from -2147483648 to 2147483647."),
    ('{"price":"x"}', "filter.price", "must be a number."),
    ('{"name":1}', "filter.name", "must be text."),
    ('{"name":true}', "filter.name", "must be text."),
    ('{"born":20260101}', "filter.born", "must be text."),
    ('{"state":"SAD"}', "filter.state", "must be one of sad, ok and happy."),
    ('{"isNew":"true"}', "filter.isNew", "must be true or false."),
    ('{"isNew":1}', "filter.isNew", "must be true or false."),
    ('{"madeAt":"soon"}', "filter.madeAt", "must be a timestamp like 2026-01-31T13:30:00Z."),
    ('{"id":{"in":1}}', "filter.id.in", "must be a list of values."),
    ('{"id":{"in":"1,2"}}', "filter.id.in", "must be a list of values."),
    ('{"id":{"in":[[1]]}}', "filter.id.in", "must be a single value."),
    ('{"id":{"in":[' + ",".join("1" * (MAX_VALUES + 1)) + "]}}", "filter.id.in", "must have at most 1000 values."),
    ('{"price":{"between":[1]}}', "filter.price.between", "must be two values, the least and the greatest."),
    ('{"tags":{"has":["a"]}}', "filter.tags.has", "must be a single value."),
    ('{"scores":{"has":"x"}}', "filter.scores.has", "must be an integer."),
    ('{"tags":{"overlaps":"a"}}', "filter.tags.overlaps", "must be a list of values."),
    ('{"name":{"like":"' + "%" * 11 + '"}}', "filter.name.like", "must have at most 10 wildcards %."),
    ('{"name":{"ilike":"a\\\\"}}', "filter.name.ilike",
     "must not end with a backslash that escapes nothing; write two for a backslash."),
    # size
    (LISTS, "filter.or[0].or[0].or[0].or[0].or[0].or", "stands more than 5 lists deep."),
    ('{"or":[' + ",".join(['{"id":1}'] * (MAX_LEAVES + 1)) + "]}", "filter", "has more than 50 conditions."),
    ('{"' + "x" * 200 + '":1}', "filter." + "x" * 93 + "...", f"names {'x' * 100}..., which is no field."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message"), HOSTILE, ids=[text[:40] for text, _, _ in HOSTILE])
def test_hostile_tree_is_one_fault_that_names_its_place(items, text, place, message):
    assert read(text, items)[1] == [(place, message)]


def test_all_faults_of_a_tree_come_at_once(items):
    text = '{"or":[{"nope":1},{"price":{"gt":"x","foo":1}},{"and":[{"id":null}]}],"name":7}'
    assert [place for place, _ in read(text, items)[1]] == [
        "filter.or[0].nope",
        "filter.or[1].price.gt",
        "filter.or[1].price.foo",
        "filter.or[2].and[0].id",
        "filter.name",
    ]


def test_faults_of_a_tree_are_bounded(items):
    faults = read(f'{{"or":[{",".join("1" * 1000)}]}}', items)[1]
    assert len(faults) == MAX_LEAVES + 1
    assert faults[-1] == ("filter", "has more than 50 conditions.")


def test_tree_of_fifty_conditions_is_taken(items):
    text = '{"or":[' + ",".join([f'{{"id":{number}}}' for number in range(MAX_LEAVES)]) + "]}"
    tree = meant(text, items)
    assert len(tree) == 1 + MAX_LEAVES


def test_no_value_of_a_tree_is_part_of_the_sql_and_groups_stand_in_parentheses(items):
    conditions, _ = read('{"or":[{"name":"NEEDLE","id":1},{"tags":{"overlaps":["NEEDLE"]}}]}', items)
    arguments = []
    assert condition_of(conditions[0], arguments) == (
        '((t."name" = $1::text::"pg_catalog"."text" AND t."id" = $2::text::"pg_catalog"."int4") OR '
        't."tags" && $3::text[]::"pg_catalog"."text"[])'
    )
    assert arguments == ["NEEDLE", "1", ("NEEDLE",)]


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "id", "name", "tags", "eq", "in", "null", "x"]), inner, max_size=3
        )
    ),
)


@given(document=documents)
def test_no_document_breaks_the_reading(items, document):
    conditions, faults = read(json.dumps(document), items)
    assert bool(conditions) is not bool(faults) or faults
    assert all(isinstance(each, Filter | Group) for each in conditions)


async def test_trees_choose_over_a_real_socket(serve):
    sql = """
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN feeling AS mood;
    CREATE TABLE books (id int PRIMARY KEY, price numeric, name text, tags text[], scores int[], mood feeling);
    INSERT INTO books VALUES
        (1, 5, 'x', '{a,b}', '{1,2}', 'sad'), (2, 50, 'x', '{a}', '{}', 'ok'), (3, 50, 'y', '{a}', NULL, NULL),
        (4, 50, 'x', '{b,NULL}', '{3}', 'happy');
    """
    api = await serve(sql, tables=["books"])

    async def chosen(text):
        return [row["id"] for row in await api.rows(f"books?filter={quote(text)}")]

    assert await chosen('{"or":[{"price":{"lt":10}},{"and":[{"name":"x"},{"tags":{"has":"a"}}]}]}') == [1, 2]
    assert await chosen('{"scores":{"overlaps":[2,3]}}') == [1, 4]
    assert await chosen('{"scores":{"overlaps":[]}}') == []
    assert await chosen('{"name":{"ilike":"X"},"mood":{"between":["ok","happy"]}}') == [2, 4]
    assert await chosen('{"or":[{"mood":{"in":["sad"]}},{"mood":{"null":true}}]}') == [1, 3]
    assert [row["id"] for row in await api.rows("books?mood[gte]=ok&tags[overlaps]=b,c")] == [4]
    wrong = quote('{"or":[{"price":{"lt":"x"}}]}')
    assert await api.faults(f"books?filter={wrong}&nope=1") == [
        ("filter.or[0].price.lt", "must be a number."),
        ("nope", "is neither a field nor a parameter."),
    ]
