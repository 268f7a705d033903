"""Query strings become queries, or every fault of theirs at once. No database, no server."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.resources.parse.filters import MAX_VALUES
from plugins.resources.parse.query import ListQuery, parse_item, parse_list
from plugins.resources.parse.texts import split_list


def understood(query, resource) -> ListQuery:
    faults = []
    parsed = parse_list(query, resource, faults, ())
    assert faults == []
    return parsed


def blamed(query, resource) -> list[tuple[str, str]]:
    faults = []
    parse_list(query, resource, faults, ())
    return [(fault.field, fault.message) for fault in faults]


def conditions(query, resource) -> list[tuple[str, str, object]]:
    return [(each.field.name, each.operator, each.value) for each in understood(query, resource).conditions]


def test_nothing_asked_is_the_first_page(items):
    assert understood("", items) == ListQuery((), None, None, 1, 10)


def test_filters_stand_in_one_order_however_they_were_written(items):
    expected = [
        ("name", "contains", "x y"),
        ("price", "gte", "1.5"),
        ("price", "lt", "9"),
        ("state", "in", ("ok", "sad")),
    ]
    assert conditions("price[lt]=9&state[in]=ok,sad&name[contains]=x+y&price[gte]=1.5", items) == expected
    assert conditions("name%5Bcontains%5D=x%20y&price%5Bgte%5D=1.5&state[in]=ok,sad&price[lt]=9", items) == expected


def test_bare_field_is_equality(items):
    assert conditions("name=a=b", items) == [("name", "eq", "a=b")]
    assert conditions("name=", items) == [("name", "eq", "")]
    assert conditions("name", items) == [("name", "eq", "")]


def test_bare_reserved_word_is_never_a_column(items):
    query = understood("page=5&page[eq]=7", items)
    assert (query.page, [(each.field.name, each.value) for each in query.conditions]) == (5, [("page", "7")])


def test_sort_and_fields_are_lists(items):
    query = understood("sort=-price,id&fields=name,id", items)
    assert [(order.field.name, order.is_descending) for order in query.sort] == [("price", True), ("id", False)]
    assert [field.name for field in query.fields] == ["id", "name"]


def test_total_order_ends_with_the_key_in_the_direction_of_the_sort(items):
    def order(query):
        return [
            (each.field.name, each.is_descending) for each in items.total_order(understood(query, items).sort or ())
        ]

    assert order("") == [("id", False)]
    assert order("sort=-price") == [("price", True), ("id", True)]
    assert order("sort=-price,name") == [("price", True), ("name", False), ("id", False)]
    assert order("sort=-id,name") == [("id", True), ("name", False)]


def test_page_reaches_the_last_offset_that_is_taken(items):
    assert understood("page=10001", items).page == 10_001
    assert understood("page=1001&limit=100", items).page == 1_001


def test_total_is_found_out_as_asked_and_of_a_cursor_list_only_when_asked(items):
    asked = [understood(f"count={each}", items).count for each in ("auto", "exact", "estimated", "none")]
    assert asked == ["auto", "exact", "estimated", "none"]
    assert understood("", items).count == "auto"


def test_patterns_keep_their_wildcards_and_other_matches_have_none(items):
    assert conditions(r"name[like]=a%25_\%25", items) == [("name", "like", "a%_\\%")]
    assert conditions("name[ilike]=" + "%25" * 10, items) == [("name", "ilike", "%" * 10)]
    assert conditions("name[like]=" + "%5C%25" * 100, items) == [("name", "like", "\\%" * 100)]
    assert conditions("name[contains]=" + "%25" * 2000, items) == [("name", "contains", "%" * 2000)]


def test_arrays_are_asked_by_the_kind_of_their_elements(items):
    assert conditions("scores[has]=007", items) == [("scores", "has", "7")]
    assert conditions(r"tags[has]=a\,b", items) == [("tags", "has", r"a\,b")]
    assert conditions(r"tags[overlaps]=a\,b,c", items) == [("tags", "overlaps", ("a,b", "c"))]


def test_limit_is_lowered_to_the_largest(items):
    assert [understood(f"limit={n}", items).limit for n in (1, 100, 101, 10**100)] == [1, 100, 100, 100]


INTEGER = "must be an integer."
POSITIVE = "must be a whole number from 1."
UTF8 = "must be percent-encoded UTF-8."
NUL = "must not contain a NUL character."
TWICE = "is given more than once."
BACKSLASH = "must not end with a backslash that escapes nothing; write two for a backslash."
FAR = "begins after more than 100,000 rows; go on by cursor, from a page before it."

HOSTILE = [
    # names
    ("nope=1", "nope", "is neither a field nor a parameter."),
    ("nmae=1", "nmae", "is neither a field nor a parameter; did you mean name?"),
    ("Name=1", "Name", "is neither a field nor a parameter; did you mean name?"),
    ("is_new=true", "is_new", "is neither a field nor a parameter; did you mean isNew?"),
    ("password=x", "password", "is neither a field nor a parameter."),
    ("pasword=x", "pasword", "is neither a field nor a parameter."),
    ("password[eq]=x", "password[eq]", "names password, which is no field."),
    ("=1", "query", "has a parameter with an empty name."),
    ("=", "query", "has a parameter with an empty name."),
    ("na%00me=1", "na%00me", NUL),
    ("n%FFame=1", "n%FFame", UTF8),
    ("n%C3%A0me=1", "nàme", "is neither a field nor a parameter; did you mean name?"),
    ("name%3B%20DROP%20TABLE%20items=1", "name; DROP TABLE items", "is neither a field nor a parameter."),
    ('"name"=1', '"name"', "is neither a field nor a parameter; did you mean name?"),
    ("n%D0%B0me=1", "nаme", "is neither a field nor a parameter; did you mean name?"),  # noqa: RUF001
    ("__proto__=1", "__proto__", "is neither a field nor a parameter."),
    ("limt=5", "limt", "is neither a field nor a parameter; did you mean limit?"),
    ("curser=x", "curser", "is neither a field nor a parameter; did you mean cursor?"),
    ("x" * 200 + "=1", "x" * 100 + "...", "is neither a field nor a parameter."),
    # operators
    ("price[foo]=1", "price[foo]", "has no operator foo; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null."),
    ("price[]=1", "price[]", "names no operator; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null."),
    ("price[EQ]=1", "price[EQ]", "has no operator EQ; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null."),
    ("price[gt", "price[gt", "is neither a field nor a parameter; did you mean price?"),
    ("price[gt][lt]=1", "price[gt][lt]", "names price[gt], which is no field; did you mean price?"),
    ("[eq]=1", "[eq]", "names an empty name, which is no field."),
    ("price[contains]=1", "price[contains]",
     "is of kind number and has no operator contains; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null."),
    ("isNew[gt]=true", "isNew[gt]", "is of kind boolean and has no operator gt; it takes eq, ne, in, nin, null."),
    ("meta=1", "meta", "is of kind json and has no operator eq; it takes null."),
    ("tags[in]=1", "tags[in]", "is of kind array and has no operator in; it takes has, overlaps, null."),
    # values
    ("id=abc", "id", INTEGER),
    ("id=", "id", INTEGER),
    ("id=1.5", "id", INTEGER),
    ("id=+5", "id", INTEGER),
    ("id=%2B5", "id", INTEGER),
    ("id=1_0", "id", INTEGER),
    ("id=%D9%A3", "id", INTEGER),
    ("id=1%20OR%201=1", "id", INTEGER),
    ("id=2147483648", "id", "must be from -2147483648 to 2147483647."),
    ("id=" + "9" * 5000, "id", "must be from -2147483648 to 2147483647."),
    ("id[in]=1,,2", "id[in]", "is wrong at [1], which must be an integer."),
    ("id[in]=", "id[in]", INTEGER),
    ("id[in]=1,x", "id[in]", "is wrong at [1], which must be an integer."),
    ("id[null]=1", "id[null]", "must be true or false."),
    ("name[null]=", "name[null]", "must be true or false."),
    ("name[in]=" + "," * MAX_VALUES, "name[in]", "must have at most 1000 values."),
    ("price=nan", "price", "must be a number."),
    ("price=1e5000", "price", "must have at most 400 digits."),
    ("weight=1e999", "weight", "is out of range for a floating-point number of 8 bytes."),
    ("isNew=1", "isNew", "must be true or false."),
    ("state=SAD", "state", "must be one of sad, ok and happy."),
    ("born=2026-02-30", "born", "must be a date like 2026-01-31."),
    ("madeAt=yesterday", "madeAt", "must be a timestamp like 2026-01-31T13:30:00Z."),
    ("code=123", "code", "must be a UUID."),
    ("name=%00", "name", NUL),
    ("name[contains]=a%00b", "name[contains]", NUL),
    ("name=%FF", "name", UTF8),
    ("name=%C3", "name", UTF8),
    ("name=%ED%A0%80", "name", UTF8),
    ("name=%C0%80", "name", UTF8),
    ("name=%F5%80%80%80", "name", UTF8),
    ("price[between]=1", "price[between]", "must be two values, the least and the greatest."),
    ("price[between]=1,2,3", "price[between]", "must be two values, the least and the greatest."),
    ("price[between]=1,x", "price[between]", "is wrong at [1], which must be a number."),
    ("isNew[between]=true,true", "isNew[between]",
     "is of kind boolean and has no operator between; it takes eq, ne, in, nin, null."),
    ("price[like]=1%25", "price[like]",
     "is of kind number and has no operator like; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null."),
    ("name[like]=a%5C", "name[like]", BACKSLASH),
    ("name[ilike]=%5C%5C%5C", "name[ilike]", BACKSLASH),
    ("name[like]=" + "%25" * 11, "name[like]", "must have at most 10 wildcards %."),
    ("name[ilike]=" + "a%25" * 11, "name[ilike]", "must have at most 10 wildcards %."),
    ("name[like]=%5C%5C%25" + "%25" * 10, "name[like]", "must have at most 10 wildcards %."),
    ("name[like]=" + "_" * 201, "name[like]", "must have at most 200 characters."),
    ("name[has]=a", "name[has]",
     "is of kind text and has no operator has; it takes eq, ne, gt, gte, lt, lte, in, nin, between, null, like, ilike, "
     "contains, startswith, endswith."),
    ("tags=a", "tags", "is of kind array and has no operator eq; it takes has, overlaps, null."),
    ("scores[has]=x", "scores[has]", INTEGER),
    ("scores[has]=1,2", "scores[has]", INTEGER),
    ("scores[overlaps]=1,x", "scores[overlaps]", "is wrong at [1], which must be an integer."),
    ("tags[overlaps]=" + "," * MAX_VALUES, "tags[overlaps]", "must have at most 1000 values."),
    # repetition
    ("name=1&name=2", "name", TWICE),
    ("name=1&n%61me=1", "name", TWICE),
    ("page=1&page=1", "page", TWICE),
    ("name=1&name[eq]=1", "name[eq]", "is name[eq] a second time."),
    # sort and fields
    ("sort=", "sort", "names an empty name, which is no field."),
    ("sort=-", "sort", "names an empty name, which is no field."),
    ("sort=id,", "sort", "names an empty name, which is no field."),
    ("sort=prise", "sort", "names prise, which is no field; did you mean price?"),
    ("sort=--id", "sort", "names -id, which is no field; did you mean id?"),
    ("sort=id,-id", "sort", "names id twice."),
    ("sort=meta", "sort", "names meta, which has no order."),
    ("sort=password", "sort", "names password, which is no field."),
    ("sort=" + ",".join("abcdefghijk"), "sort", "names more than 10 fields."),
    ("sort=id;select", "sort", "names id;select, which is no field."),
    ("fields=", "fields", "names an empty name, which is no field."),
    ("fields=id,id", "fields", "names id twice."),
    ("fields=" + "id," * 113, "fields", "names more fields than there are."),
    ("fields=id,password", "fields", "names password, which is no field."),
    ("fields=*", "fields", "names *, which is no field."),
    # pages
    ("page=0", "page", POSITIVE),
    ("page=-1", "page", POSITIVE),
    ("page=1.5", "page", POSITIVE),
    ("page=+1", "page", POSITIVE),
    ("page=", "page", POSITIVE),
    ("page=1e3", "page", POSITIVE),
    ("page=%EF%BC%91", "page", POSITIVE),
    ("page=9223372036854775807", "page", FAR),
    ("page=10002", "page", FAR),
    ("page=1002&limit=100", "page", FAR),
    ("page=" + "9" * 5000, "page", FAR),
    ("limit=0", "limit", POSITIVE),
    ("limit=00", "limit", POSITIVE),
    ("limit=-5", "limit", POSITIVE),
    ("limit=ten", "limit", POSITIVE),
    ("limit=10%20", "limit", POSITIVE),
    # count
    ("count=", "count", "must be one of auto, exact, estimated and none."),
    ("count=EXACT", "count", "must be one of auto, exact, estimated and none."),
    ("count=1", "count", "must be one of auto, exact, estimated and none."),
    # size
    ("&".join(f"a{n}=1" for n in range(101)), "query", "has more than 100 parameters."),
]  # fmt: skip


@pytest.mark.parametrize(("query", "parameter", "message"), HOSTILE, ids=[query[:40] for query, _, _ in HOSTILE])
def test_hostile_query_is_one_fault_that_names_its_parameter(query, parameter, message, items):
    assert blamed(query, items) == [(parameter, message)]


def test_all_faults_come_at_once_in_the_order_of_the_query(items):
    query = "nope=1&price=x&sort=-nope,meta&limit=0&page=x&fields=y&name=%FF&name[foo]=1"
    assert [parameter for parameter, _ in blamed(query, items)] == [
        "nope", "price", "sort", "sort", "limit", "page", "fields", "name", "name[foo]",
    ]  # fmt: skip


def test_harmless_oddities_are_taken(items):
    assert conditions("&&name=100%&", items) == [("name", "eq", "100%")]
    assert conditions("name=%zz", items) == [("name", "eq", "%zz")]
    assert understood("page=0002&limit=05", items).page == 2
    assert conditions("name='; DROP TABLE items; --", items) == [("name", "eq", "'; DROP TABLE items; --")]


def test_names_are_suggested_for_a_few_parameters_only(items):
    messages = [message for _, message in blamed("&".join(f"nam{n}=1" for n in range(9)), items)]
    assert ["did you mean" in message for message in messages] == [True] * 5 + [False] * 4


def test_row_takes_fields_only(items):
    faults = []
    assert [field.name for field in parse_item("fields=name", items, faults)] == ["name"]
    assert parse_item("", items, faults) is None
    assert faults == []
    parse_item("page=1&name=x", items, faults)
    assert [fault.field for fault in faults] == ["page", "name"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("", ("",)),
        ("a,,b", ("a", "", "b")),
        (r"a\,b,c", ("a,b", "c")),
        (r"a\\,b", ("a\\", "b")),
        (r"C:\dir", (r"C:\dir",)),
        ("end\\", ("end\\",)),
        ("\\\n,x", ("\\\n", "x")),
    ],
)
def test_list_is_split_at_commas_that_no_backslash_stands_before(text, parts):
    assert split_list(text) == parts


@given(st.lists(st.text(), min_size=1))
def test_list_of_any_texts_comes_back_from_its_escaped_form(parts):
    escaped = ",".join(part.replace("\\", "\\\\").replace(",", "\\,") for part in parts)
    assert split_list(escaped) == tuple(parts)


@given(query=st.text(alphabet=st.characters(max_codepoint=127), max_size=200) | st.binary().map(quote))
def test_no_query_string_breaks_the_reading(items, query):
    parse_list(query, items, [], ())


@given(value=st.text())
def test_any_text_survives_percent_encoding(items, value):
    faults = []
    parsed = parse_list(f"name={quote(value)}", items, faults, ())
    if "\0" in value:
        assert [fault.field for fault in faults] == ["name"]
    else:
        assert (faults, parsed.conditions[0].value) == ([], value)
