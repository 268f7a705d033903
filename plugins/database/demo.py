"""The demo schema of the embedded server: 1,000 users and 5,000 orders, the same on every machine.

Never goes into a database named by `url`. The tables themselves are the mark that it was made: whoever drops one, or
keeps tables of their own beside them, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import asyncpg

USERS_COUNT = 1_000
ORDERS_COUNT = 5_000

NO_PASSWORD = f"$argon2id$v=19$m=65536,t=3,p=4$cGVnYm9hcmQtZGVtby0hIQ${'A' * 43}"
"""A well-formed hash of 32 zero bytes, which is what no password hashes to: of users that are made later."""

DEMO_PASSWORD = "correct horse battery staple"  # noqa: S105  # everybody may know it
"""With it, each of the users logs in."""

DEMO_HASH = "$argon2id$v=19$m=65536,t=3,p=4$cGVnYm9hcmQtZGVtby0hIQ$BfiFKy1IcvHY92Mu5N4o7WIlgwkbou+SX9MKIQa+oyU"
"""Its argon2id hash, made once: a thousand of them would take a minute."""

SCHEMA = f"""
CREATE TYPE user_role AS ENUM ('customer', 'support', 'admin');
CREATE TYPE order_status AS ENUM ('pending', 'paid', 'shipped', 'delivered', 'cancelled');

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text NOT NULL UNIQUE CHECK (email LIKE '%_@_%' AND length(email) <= 254),
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    role          user_role NOT NULL DEFAULT 'customer',
    bio           text CHECK (length(bio) <= 1000),
    password_hash text NOT NULL DEFAULT '{NO_PASSWORD}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id),
    status     order_status NOT NULL DEFAULT 'pending',
    total      numeric(10, 2) NOT NULL CHECK (total >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_user_id_idx ON orders (user_id);
CREATE INDEX users_created_at_id_idx ON users (created_at, id);

COMMENT ON TABLE users IS 'People who have an account';
COMMENT ON COLUMN users.email IS 'Address that the account is known by';
COMMENT ON COLUMN users.name IS 'Name as the person writes it';
COMMENT ON COLUMN users.role IS 'What the account may do';
COMMENT ON COLUMN users.bio IS 'A few words about themselves';
COMMENT ON COLUMN users.password_hash IS 'Argon2id, in PHC string format';
COMMENT ON COLUMN users.created_at IS 'When the account was opened';
COMMENT ON COLUMN users.updated_at IS 'When the account was last changed';
COMMENT ON TABLE orders IS 'What was ordered';
COMMENT ON COLUMN orders.user_id IS 'Who ordered it';
COMMENT ON COLUMN orders.status IS 'How far it has come';
COMMENT ON COLUMN orders.total IS 'Sum of the order, in euros';
COMMENT ON COLUMN orders.created_at IS 'When it was ordered';
COMMENT ON COLUMN orders.updated_at IS 'When its status last changed';
"""

GIVEN_NAMES = (
    *("Ada", "Amir", "Anna", "Bao", "Carmen", "Chidi", "Dana", "Elif", "Emeka", "Eva", "Farid", "Freya", "Grace"),
    *("Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lara", "Lena", "Luca", "Mai", "Malik", "Maria"),
    *(
        "Mateo",
        "Mila",
        "Nadia",
        "Noah",
        "Olga",
        "Omar",
        "Priya",
        "Rafael",
        "Rosa",
        "Sana",
        "Sven",
        "Tara",
        "Yuki",
        "Zoë",
    ),
)
FAMILY_NAMES = (
    *("Abebe", "Andersson", "Bakker", "Becker", "Bianchi", "Chen", "Costa", "Diallo", "Dubois", "Eriksen", "Fischer"),
    *("Garcia", "Haddad", "Hoang", "Ivanova", "Jensen", "Kaya", "Kim", "Kowalska", "Kumar", "Lindqvist", "Lopez"),
    *("Martin", "Mbeki", "Moreau", "Müller", "Nakamura", "Novak", "O'Brien", "Okafor", "Papadakis", "Patel", "Pereira"),
    *(
        "Petrov",
        "Rossi",
        "Santos",
        "Sato",
        "Schmidt",
        "Silva",
        "Smith",
        "Tanaka",
        "Van Dijk",
        "Virtanen",
        "Weber",
        "Yilmaz",
    ),
)
OPENINGS = ("Grew up near", "Lives and works in", "Moved last year to", "Sells second-hand books in", "Studies in")
PLACES = (
    "Aarhus",
    "Accra",
    "Bologna",
    "Ghent",
    "Hanoi",
    "Izmir",
    "Kraków",
    "Lyon",
    "Osaka",
    "Porto",
    "Pune",
    "Tampere",
)
LIKINGS = (
    "likes long train rides",
    "plays the cello",
    "repairs old bicycles",
    "keeps bees",
    "bakes rye bread",
    "climbs",
)

FIRST_DAY = datetime(2023, 1, 2, 8, tzinfo=UTC)
LAST_DAY = datetime(2025, 12, 30, 18, tzinfo=UTC)

Row = tuple[object, ...]


class Dice:
    """Choices from a seed. Only `Random.random` is the same in every version of Python, so all is made of that."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random  # noqa: S311  # nothing secret is made here

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def one_of(self, choices: tuple[str, ...]) -> str:
        return choices[self.below(len(choices))]

    def moment(self, first: datetime, last: datetime) -> datetime:
        return first + timedelta(seconds=self.below(int((last - first).total_seconds()) + 1))


def users() -> list[Row]:
    """email, name, role, bio, password_hash, created_at, updated_at; the order is that of the ids."""
    dice = Dice(1)
    opened = sorted(dice.moment(FIRST_DAY, LAST_DAY) for _ in range(USERS_COUNT))
    rows: list[Row] = []
    for number, created_at in enumerate(opened, start=1):
        given, family = dice.one_of(GIVEN_NAMES), dice.one_of(FAMILY_NAMES)
        role = "admin" if number % 200 == 1 else "support" if number % 50 == 2 else "customer"
        bio = f"{dice.one_of(OPENINGS)} {dice.one_of(PLACES)} and {dice.one_of(LIKINGS)}."
        updated_at = dice.moment(created_at, LAST_DAY) if dice.below(2) else created_at
        email = f"{_letters(given)}.{_letters(family)}{number}@example.com"
        rows.append(
            (email, f"{given} {family}", role, bio if dice.below(4) else None, DEMO_HASH, created_at, updated_at)
        )
    return rows


def orders(openings: list[datetime]) -> Iterator[Row]:
    """user_id, status, total, created_at, updated_at; `openings` are when the accounts were made, by id."""
    dice = Dice(2)
    for _ in range(ORDERS_COUNT):
        index = min(dice.below(USERS_COUNT), dice.below(USERS_COUNT))  # older accounts have ordered more
        created_at = dice.moment(openings[index], LAST_DAY)
        age_days = (LAST_DAY - created_at).days
        status = (
            dice.one_of(("pending", "paid", "shipped"))
            if age_days < 14
            else dice.one_of(("delivered",) * 9 + ("cancelled",))
        )
        cents = 499 + dice.below(200) * dice.below(200)
        updated_at = min(created_at + timedelta(hours=dice.below(96)), LAST_DAY)
        yield index + 1, status, Decimal(cents).scaleb(-2), created_at, updated_at


def _letters(name: str) -> str:
    """The part of an address that a name makes."""
    return name.lower().translate(str.maketrans("ëüö", "euo", " '"))


async def make_demo(connection: asyncpg.Connection) -> None:
    """Make tables and rows, in one transaction, unless one of the tables is there. Raises asyncpg's errors."""
    if await connection.fetchval(
        "SELECT coalesce(to_regclass('public.users'), to_regclass('public.orders')) IS NOT NULL"
    ):
        return
    people = users()
    async with connection.transaction():
        await connection.execute(SCHEMA)
        await connection.copy_records_to_table(
            "users",
            records=people,
            columns=["email", "name", "role", "bio", "password_hash", "created_at", "updated_at"],
        )
        await connection.copy_records_to_table(
            "orders",
            records=orders([created_at for *_, created_at, _ in people if isinstance(created_at, datetime)]),
            columns=["user_id", "status", "total", "created_at", "updated_at"],
        )
    await connection.execute("SELECT pg_stat_force_next_flush()")  # else all rows would count as changed since ANALYZE
    await connection.execute("ANALYZE users, orders")


async def describe_demo(connection: asyncpg.Connection) -> str:
    """What is said of the demo data at start; empty where its tables are not all there."""
    if not await connection.fetchval(
        "SELECT to_regclass('public.users') IS NOT NULL AND to_regclass('public.orders') IS NOT NULL"
    ):
        return ""
    counts = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM orders) AS orders"
    )
    return f" (demo data: {counts['users']:,} users, {counts['orders']:,} orders)" if counts else ""
