"""Names of the database and of the API."""

from __future__ import annotations

import pytest

from plugins.resources.schema.naming import api_names, camel_case


@pytest.mark.parametrize(
    ("name", "camel"),
    [
        ("created_at", "createdAt"),
        ("id", "id"),
        ("USER_ID", "userId"),
        ("CreatedAt", "createdAt"),
        ("ID", "id"),
        ("HTTPServer", "httpServer"),
        ("_id", "_id"),
        ("__meta_data", "__metaData"),
        ("type_", "type"),
        ("address_1", "address1"),
        ("Order Date", "orderDate"),
        ("price ($)", "price"),
        ("größe_maß", "größeMaß"),
        ("a_ä", "aÄ"),
        ("_", "_"),
        ("🙂", "🙂"),
        ("alreadyCamel", "alreadyCamel"),
        ("a" * 60 + "_ΐ", "a" * 60 + "_ΐ"),  # its capital would be longer than PostgreSQL takes
    ],
)
def test_camel_case_joins_words(name, camel):
    assert camel_case(name) == camel


def test_columns_that_meet_in_camel_case_keep_their_own_names():
    assert api_names(["a_b", "aB", "a_c"], in_camel_case=True) == {"a_b": "a_b", "aB": "aB", "a_c": "aC"}
    assert api_names(["a_b"], in_camel_case=False) == {"a_b": "a_b"}
