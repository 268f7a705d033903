"""Lists, single rows and rows along foreign keys, over a real socket and a real PostgreSQL."""

from __future__ import annotations

SHOP = """
CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL, password_hash text,
    created_at timestamptz NOT NULL
);
CREATE TABLE orders (
    id int PRIMARY KEY, user_id int REFERENCES users, total numeric(10, 2) NOT NULL, note text
);
INSERT INTO users (email, password_hash, created_at)
SELECT 'user' || n || '@example.com', 'x', timestamptz '2026-01-01T00:00:00Z' + n * interval '1 hour'
FROM generate_series(1, 25) n;
INSERT INTO orders SELECT n, 1 + n % 3, n, NULL FROM generate_series(1, 30) n;
"""


async def test_list_has_ten_rows_and_all_nine_keys_of_pagination(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    status, body = await api.get("users")
    assert status == 200
    assert [row["id"] for row in body["data"]] == list(range(1, 11))
    assert isinstance(body["pagination"].pop("nextCursor"), str)
    assert body["pagination"] == {
        "page": 1,
        "limit": 10,
        "total": 25,
        "totalPages": 3,
        "hasNext": True,
        "hasPrev": False,
        "prevCursor": None,
        "totalIsEstimate": False,
    }


async def test_rows_have_camel_case_names_and_no_column_named_like_a_secret(serve):
    api = await serve(SHOP, tables=["users"])
    assert (await api.rows("users?limit=1"))[0] == {
        "id": 1,
        "email": "user1@example.com",
        "createdAt": "2026-01-01T01:00:00+00:00",
    }
    assert any("users: password_hash hidden" in sentence for sentence in api.said)


async def test_secret_is_shown_where_fields_names_it_and_names_stay_as_they_are(serve):
    api = await serve(
        SHOP, tables=["users"], table={"users": {"fields": ["id", "password_hash"], "names": "as-is", "sort": "-id"}}
    )
    assert (await api.rows("users?limit=1"))[0] == {"id": 25, "password_hash": "x"}
    assert not any("password_hash" in sentence for sentence in api.said)


async def test_last_page_has_no_next_and_a_page_past_the_end_is_empty(serve):
    api = await serve(SHOP, tables=["users"])
    _, last = await api.get("users?page=3")
    assert (len(last["data"]), last["pagination"]["hasNext"], last["pagination"]["hasPrev"]) == (5, False, True)
    _, full = await api.get("users?page=5&limit=5")
    assert (len(full["data"]), full["pagination"]["hasNext"]) == (5, False)
    status, past = await api.get("users?page=9001")
    assert (status, past["data"], past["pagination"]["total"]) == (200, [], 25)


async def test_limit_over_the_largest_is_lowered_and_echoed(serve):
    api = await serve(SHOP, tables=["users"], table={"users": {"limit": 3, "max_limit": 7}})
    for query, used in (("", 3), ("?limit=7", 7), ("?limit=8", 7), (f"?limit={10**40}", 7)):
        _, body = await api.get("users" + query)
        assert (len(body["data"]), body["pagination"]["limit"]) == (used, used)


async def test_empty_table_is_an_empty_list(serve):
    api = await serve("CREATE TABLE empty (id int PRIMARY KEY)", tables=["empty"])
    _, body = await api.get("empty")
    assert body["data"] == []
    assert (body["pagination"]["total"], body["pagination"]["totalPages"]) == (0, 0)


async def test_row_is_the_object_itself_and_takes_fields(serve):
    api = await serve(SHOP, tables=["orders"])
    assert await api.get("orders/7") == (200, {"id": 7, "userId": 2, "total": 7.0, "note": None})
    assert await api.get("orders/7?fields=total,id") == (200, {"id": 7, "total": 7.0})


async def test_row_that_is_not_there_is_404_in_the_error_form(serve):
    api = await serve(SHOP, tables=["users"])
    status, body = await api.get("users/999")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


async def test_id_that_cannot_be_of_the_type_of_the_key_is_400(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    for path in ("users/abc", "users/99999999999999999999", "users/1.0", "users/%00", "users/+1", "users/abc/orders"):
        assert [field for field, _ in await api.faults(path)] == ["id"], path


async def test_row_takes_no_parameters_of_lists(serve):
    api = await serve(SHOP, tables=["users"])
    assert [field for field, _ in await api.faults("users/1?page=1&email=x&fields=nope")] == ["page", "email", "fields"]


async def test_children_are_the_rows_that_refer_to_the_row(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    status, body = await api.get("users/1/orders?total[gte]=10&sort=-total&limit=3&fields=id")
    assert (status, body["data"]) == (200, [{"id": 30}, {"id": 27}, {"id": 24}])
    assert body["pagination"]["total"] == 7


async def test_children_of_a_row_without_any_are_an_empty_list_and_of_no_row_404(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    status, body = await api.get("users/20/orders")
    assert (status, body["data"], body["pagination"]["total"]) == (200, [], 0)
    status, body = await api.get("users/999/orders")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


async def test_children_report_faults_of_path_and_query_at_once(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    assert [field for field, _ in await api.faults("users/x/orders?total=y&z=1")] == ["id", "total", "z"]


async def test_head_has_the_length_of_get_and_options_says_what_is_allowed(serve):
    api = await serve(SHOP, tables=["*"])
    for path in ("/api/v1", "/api/v1/users", "/api/v1/users/1"):
        got = await api.client.get(path)
        head = await api.client.head(path)
        assert (head.status, head.headers["Content-Length"]) == (200, got.headers["Content-Length"]), path
        assert await head.read() == b""
        options = await api.client.options(path)
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS"), path


async def test_index_lists_what_there_is(serve):
    api = await serve(SHOP, tables=["users", "orders"])
    status, body = await api.get("")
    assert status == 200
    assert [(row["name"], row["path"], row["key"]) for row in body["data"]] == [
        ("orders", "/api/v1/orders", ["id"]),
        ("users", "/api/v1/users", ["id"]),
    ]
    assert body["data"][1]["children"] == ["/api/v1/users/{id}/orders"]
    assert [field["name"] for field in body["data"][1]["fields"]] == ["id", "email", "createdAt"]
    assert body["pagination"]["total"] == 2
    assert [field for field, _ in await api.faults("?page=1")] == ["page"]


async def test_schema_is_the_one_of_the_settings_and_another_one_is_not_seen(serve):
    sql = """
    CREATE SCHEMA shop;
    CREATE TYPE shop.state AS ENUM ('new', 'paid');
    CREATE TABLE shop.orders (id int PRIMARY KEY, state shop.state);
    CREATE TABLE public.orders (id int PRIMARY KEY, other text);
    CREATE TABLE public.users (id int PRIMARY KEY);
    INSERT INTO shop.orders VALUES (1, 'new'), (2, 'paid'), (3, NULL);
    """
    api = await serve(sql, schema="shop", tables=["*"])
    assert await api.rows("orders?state[gte]=paid") == [{"id": 2, "state": "paid"}]
    assert await api.rows("orders?state[nin]=new") == [{"id": 2, "state": "paid"}, {"id": 3, "state": None}]
    assert (await api.get("users"))[0] == 404
