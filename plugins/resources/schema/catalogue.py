"""What is in the database: one schema's tables, columns, keys and types, read in one query into frozen values.

`CATALOGUE` gives one JSON value for a schema, in the shape of the values below; `read_catalogue` makes them of it.
Nothing here decides what is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson
from pydantic import TypeAdapter

LONG_NUMBERS: Final = frozenset({"int8", "numeric"})
"""What has more digits than a floating-point number, which is what many clients make of it."""


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type, domains followed down to what they are made of."""

    schema: str
    name: str
    """`pg_type.typname`: `int4`, `timestamptz`, `citext`."""
    is_array: bool = False
    labels: tuple[str, ...] | None = None
    """An enum's, in their order; None for every other type."""
    element: Type | None = None
    """What an array is made of; a domain there is not followed."""
    delimiter: str = ","
    """What stands between the elements of an array, as PostgreSQL reads and prints it."""
    attributes: tuple[Attribute, ...] | None = None
    """What a composite value is made of, in its order; None for every other type."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One part of a composite value."""

    name: str
    type: Type
    is_nullable: bool = True
    """False where its domain says so; what a table asks of its own columns does not bind values of its row's type."""
    modifier: int = -1
    """As a column's."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table or view."""

    name: str
    type: Type
    is_nullable: bool = True
    default: str | None = None
    """The default's expression, as PostgreSQL prints it; its domain's, where the column has none."""
    is_generated: bool = False
    is_virtual: bool = False
    """Generated whenever it is read."""
    identity: Literal["always", "by default"] | None = None
    is_readable: bool = True
    """False where the database role may not SELECT it."""
    is_insertable: bool = True
    """False where the role may not INSERT it, and in a view where nothing is behind it."""
    is_updatable: bool = True
    """The same for UPDATE."""
    declared: str = ""
    """Its type as SQL, domain and limits included: `numeric(10,2)`."""
    modifier: int = -1
    """`pg_attribute.atttypmod`, a domain's included: how long or exact a value may be; -1 is no limit."""
    is_deterministic: bool = True
    """False under a collation in which different texts can be equal; LIKE needs another one there."""
    origin: str | None = None
    """Its name where the values are: in the table itself, or in the one behind a view; None where that is not known, or
    there is none."""
    comment: str | None = None

    @property
    def is_filled(self) -> bool:
        """Whether PostgreSQL gives a new row a value for it."""
        return self.default is not None or self.identity is not None or self.is_generated


Action = Literal["create", "update", "delete"]
"""What a client may do to rows beside reading them."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that refer to a row of another table of the schema, or of the same one."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: Action | None = None
    """What deleting the row does to those that refer to it: CASCADE deletes them, SET NULL and SET DEFAULT update."""
    on_update: Action | None = None
    """What another value in `target_columns` does to them."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, or whatever else can be selected from."""

    schema: str
    name: str
    relation: Literal["table", "partitioned table", "view", "materialised view", "foreign table"] = "table"
    is_broken: bool = False
    """Cannot be read by anybody: its foreign-data wrapper, or that of a table behind it, has no handler."""
    is_partition: bool = False
    is_from_extension: bool = False
    has_heirs: bool = False
    """Other tables inherit from it, by INHERITS: their rows are among its own, and no key of its binds them."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """By name, in the table's order."""
    keys: tuple[tuple[str, ...], ...] = ()
    """Columns that identify a row: the primary key first, then unique ones without NULLs, shorter ones first."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    supported: tuple[Action, ...] = ("create", "update", "delete")
    """What PostgreSQL can do to its rows: for a view that may be nothing."""
    granted: tuple[Action, ...] = ("create", "update", "delete")
    """What the role may do, to some of its columns at least."""
    kept: tuple[Action, ...] = ()
    """What a trigger that runs before it, or a rule in its place, may answer with no row, though there was one."""
    mute: tuple[Action, ...] = ()
    """What a rule does something else for that gives no row back: our statements fail."""
    shows: tuple[str, ...] = ()
    """Tables and views whose rows are seen through this one: a view's, a partitioned table's partitions."""
    comment: str | None = None

    @property
    def computes(self) -> bool:
        """Whether reading a row may compute values of it, and fail at that."""
        return self.relation == "view" or any(column.is_virtual for column in self.columns.values())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One schema of a database."""

    schema: str
    schemas: tuple[str, ...]
    """Every schema that there is, PostgreSQL's own excepted."""
    tables: Mapping[str, Table]
    """By name, in alphabetical order."""


def read_catalogue(body: bytes) -> Catalogue:
    """The values behind what `CATALOGUE` gave: there, types stand once each, and are meant by their number."""
    told = orjson.loads(body)
    numbered = told.pop("types")
    types: dict[str, Type] = {}
    made = TypeAdapter(Type)

    def type_of(number: str) -> Type:
        if number not in types:  # no type is made of itself
            facts = dict(numbered[number])
            if facts["element"] is not None:
                facts["element"] = type_of(facts["element"])
            if facts["attributes"] is not None:
                facts["attributes"] = [each | {"type": type_of(each["type"])} for each in facts["attributes"]]
            types[number] = made.validate_python(facts)
        return types[number]

    for table in told["tables"].values():
        for column in table["columns"].values():
            column["type"] = type_of(column["type"])
    return TypeAdapter(Catalogue).validate_python(told)


CATALOGUE = """
WITH RECURSIVE broken AS (  -- foreign tables that no wrapper can read, and views of them: to ask about them is an error
    SELECT f.ftrelid AS oid
    FROM pg_catalog.pg_foreign_table f
    JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
    JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
    WHERE w.fdwhandler = 0
    UNION
    SELECT w.ev_class
    FROM broken b
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
                               AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = b.oid
    JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
), relation AS (
    SELECT c.oid, c.relname, c.relkind, c.relispartition,
           CASE WHEN c.oid IN (SELECT oid FROM broken) THEN 0 ELSE c.oid END AS sound,  -- 0 is updatable nowhere
           (SELECT coalesce(bit_or(t.tgtype::int), 0) FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = c.oid AND t.tgtype & 64 <> 0) AS instead  -- INSTEAD OF triggers, which views can have
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), behind(top, oid, is_sole) AS (  -- where a write to a relation arrives: children, partitions, what a view shows
    SELECT oid, oid, true
    FROM relation
    WHERE relkind <> 'm'
    UNION
    SELECT b.top, next.oid, b.is_sole AND next.is_sole
    FROM behind b
    CROSS JOIN LATERAL (
        SELECT i.inhrelid, true
        FROM pg_catalog.pg_inherits i
        WHERE i.inhparent = b.oid
        UNION ALL
        SELECT s.oid, count(*) OVER () = 1
        FROM (
            SELECT DISTINCT c.oid
            FROM pg_catalog.pg_rewrite w
            JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                                       AND d.refclassid = 'pg_catalog.pg_class'::regclass
            JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'v', 'f')
            WHERE w.ev_class = b.oid AND w.ev_type = '1' AND c.oid <> b.oid
        ) s
    ) next(oid, is_sole)
), meddling(top, action, is_mute) AS (  -- triggers that may answer with no row; rules that do something else instead
    SELECT b.top, e.action, false
    FROM behind b
    JOIN pg_catalog.pg_trigger t ON t.tgrelid = b.oid AND t.tgenabled IN ('O', 'A')
                                AND t.tgtype & 1 <> 0 AND t.tgtype & 66 <> 0  -- for each row, BEFORE or INSTEAD OF
    JOIN (VALUES ('create', 4), ('delete', 8), ('update', 16)) e(action, bit) ON t.tgtype & e.bit <> 0
    UNION
    SELECT b.top, e.action, NOT bool_or(w.ev_action::text ~ ':returningList [(]')
    FROM behind b
    JOIN relation r ON r.oid = b.top
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = b.oid AND w.is_instead AND w.ev_enabled IN ('O', 'A')
    JOIN (VALUES ('update', '2', 16), ('create', '3', 4), ('delete', '4', 8)) e(action, type, bit)
      ON w.ev_type::text = e.type
    WHERE b.is_sole AND (b.oid = b.top OR r.instead & e.bit = 0)
    GROUP BY b.top, b.oid, e.action
), target AS (  -- which column stands behind one of a view; a number that has several, as in a subquery, is left out
    SELECT w.ev_class AS oid, min(m.part)::bigint[] AS part
    FROM pg_catalog.pg_rewrite w
    CROSS JOIN LATERAL pg_catalog.regexp_matches(w.ev_action::text,
        ':resno (\\d+) :resname (?:[^ \\\\]|\\\\.)+ :ressortgroupref \\d+ :resorigtbl (\\d+) :resorigcol (\\d+)',
        'g') m(part)
    WHERE w.ev_type = '1' AND w.ev_class IN (SELECT oid FROM behind)
    GROUP BY w.ev_class, m.part[1]
    HAVING count(DISTINCT m.part) = 1
), origin(oid, number, source, at) AS (
    SELECT oid, part[1], part[2]::oid, part[3]
    FROM target
    UNION
    SELECT o.oid, o.number, t.part[2]::oid, t.part[3]
    FROM origin o
    JOIN target t ON t.oid = o.source AND t.part[1] = o.at
), named AS (  -- the names of these, by number
    SELECT o.oid, json_object_agg(o.number, s.attname) AS names
    FROM origin o
    JOIN pg_catalog.pg_class c ON c.oid = o.source AND c.relkind <> 'v'
    JOIN pg_catalog.pg_attribute s ON s.attrelid = o.source AND s.attnum = o.at
    GROUP BY o.oid
), meddled AS (
    SELECT top AS oid,
           json_agg(DISTINCT action) FILTER (WHERE NOT is_mute) AS kept,
           json_agg(DISTINCT action) FILTER (WHERE is_mute) AS mute
    FROM meddling
    GROUP BY top
), used AS (  -- each type of a column, and whatever it is made of
    SELECT a.atttypid AS oid
    FROM pg_catalog.pg_attribute a
    JOIN relation r ON r.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid
    FROM used
    JOIN pg_catalog.pg_type t ON t.oid = used.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typtype <> 'd' AND t.typcategory = 'A'
        UNION ALL
        SELECT a.atttypid
        FROM pg_catalog.pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) part
), unfolded(declared, oid, not_null, fallback, modifier) AS (  -- each of them, under a domain what it is made of
    SELECT t.oid, t.oid, t.typnotnull, t.typdefault, t.typtypmod
    FROM used
    JOIN pg_catalog.pg_type t ON t.oid = used.oid
    UNION ALL
    SELECT u.declared, b.oid, u.not_null OR b.typnotnull, coalesce(u.fallback, b.typdefault),
           greatest(u.modifier, b.typtypmod)
    FROM unfolded u
    JOIN pg_catalog.pg_type d ON d.oid = u.oid AND d.typtype = 'd'
    JOIN pg_catalog.pg_type b ON b.oid = d.typbasetype
), enum AS (
    SELECT enumtypid AS oid, json_agg(enumlabel ORDER BY enumsortorder) AS labels
    FROM pg_catalog.pg_enum
    GROUP BY enumtypid
), type AS (
    SELECT u.declared, u.not_null, u.fallback, u.modifier, u.oid::text AS number
    FROM unfolded u
    JOIN pg_catalog.pg_type t ON t.oid = u.oid AND t.typtype <> 'd'
)
SELECT json_build_object(
    'schema', $1::text,
    'schemas', (
        SELECT json_agg(nspname ORDER BY nspname)
        FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ),
    'types', coalesce((
        SELECT json_object_agg(t.oid::text, json_build_object(
            'schema', n.nspname,
            'name', t.typname,
            'is_array', e.oid IS NOT NULL,
            'labels', (SELECT labels FROM enum WHERE enum.oid = t.oid),
            'element', e.oid::text,
            'delimiter', coalesce(e.typdelim, ','),
            'attributes', CASE WHEN t.typtype = 'c' THEN (
                SELECT coalesce(json_agg(json_build_object(
                    'name', a.attname,
                    'type', p.number,
                    'is_nullable', NOT p.not_null,
                    'modifier', greatest(a.atttypmod, p.modifier)
                ) ORDER BY a.attnum), '[]')
                FROM pg_catalog.pg_attribute a
                JOIN type p ON p.declared = a.atttypid
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            ) END
        ))
        FROM used
        JOIN pg_catalog.pg_type t ON t.oid = used.oid
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typtype <> 'd' AND t.typcategory = 'A'
    ), '{}'),
    'tables', coalesce((
        SELECT json_object_agg(r.relname, json_build_object(
            'schema', $1::text,
            'name', r.relname,
            'relation', CASE r.relkind
                WHEN 'r' THEN 'table'
                WHEN 'p' THEN 'partitioned table'
                WHEN 'v' THEN 'view'
                WHEN 'm' THEN 'materialised view'
                ELSE 'foreign table'
            END,
            'is_broken', r.sound = 0,
            'is_partition', r.relispartition,
            'is_from_extension', EXISTS (
                SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'e'
            ),
            'has_heirs', r.relkind IN ('r', 'f') AND EXISTS (
                SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid
            ),
            'columns', coalesce((
                SELECT json_object_agg(a.attname, json_build_object(
                    'name', a.attname,
                    'type', t.number,
                    'is_nullable', NOT (a.attnotnull OR t.not_null),
                    'default', CASE WHEN a.attgenerated = '' THEN
                        coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), t.fallback)
                    END,
                    'is_generated', a.attgenerated <> '',
                    'is_virtual', a.attgenerated = 'v',
                    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
                    'is_readable', pg_catalog.has_column_privilege(r.oid, a.attnum, 'SELECT'),
                    'is_insertable', (r.instead & 4 <> 0 OR pg_catalog.pg_column_is_updatable(r.sound, a.attnum, false))
                        AND pg_catalog.has_column_privilege(r.oid, a.attnum, 'INSERT'),
                    'is_updatable', (r.instead & 16 <> 0 OR pg_catalog.pg_column_is_updatable(r.sound, a.attnum, false))
                        AND pg_catalog.has_column_privilege(r.oid, a.attnum, 'UPDATE'),
                    'declared', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'modifier', greatest(a.atttypmod, t.modifier),
                    'origin', CASE WHEN r.relkind <> 'v' THEN a.attname ELSE n.names ->> a.attnum::text END,
                    'is_deterministic', coalesce(l.collisdeterministic, true),
                    'comment', pg_catalog.col_description(r.oid, a.attnum)
                ) ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                JOIN type t ON t.declared = a.atttypid
                LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
                WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
            ), '{}'),
            'keys', coalesce((
                SELECT json_agg(k.columns ORDER BY i.indisprimary DESC, i.indnkeyatts, x.relname)
                FROM pg_catalog.pg_index i
                JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                CROSS JOIN LATERAL (
                    SELECT json_agg(a.attname ORDER BY part.at) AS columns,
                           bool_and(a.attnotnull AND (l.collisdeterministic IS NOT FALSE OR l.oid = part.collated))
                               AS is_strict  -- values that the column takes for equal the index must take for equal
                    FROM unnest(i.indkey::int2[], i.indcollation::oid[]) WITH ORDINALITY part(number, collated, at)
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = part.number
                    LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
                    WHERE part.at <= i.indnkeyatts
                ) k
                WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid
                      AND i.indpred IS NULL AND i.indexprs IS NULL AND k.is_strict
            ), '[]'),
            'foreign_keys', coalesce((
                SELECT json_agg(json_build_object(
                    'name', f.conname,
                    'columns', (
                        SELECT json_agg(a.attname ORDER BY part.at)
                        FROM unnest(f.conkey) WITH ORDINALITY part(number, at)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = part.number
                    ),
                    'target', target.relname,
                    'target_columns', (
                        SELECT json_agg(a.attname ORDER BY part.at)
                        FROM unnest(f.confkey) WITH ORDINALITY part(number, at)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = part.number
                    ),
                    'on_delete', CASE
                        WHEN f.confdeltype = 'c' THEN 'delete'
                        WHEN f.confdeltype IN ('n', 'd') THEN 'update'
                    END,
                    'on_update', CASE WHEN f.confupdtype IN ('c', 'n', 'd') THEN 'update' END
                ) ORDER BY f.conname)
                FROM pg_catalog.pg_constraint f
                JOIN relation target ON target.oid = f.confrelid
                WHERE f.conrelid = r.oid AND f.contype = 'f' AND f.conparentid = 0
            ), '[]'),
            'supported', (
                SELECT coalesce(json_agg(action ORDER BY bit), '[]')
                FROM (VALUES ('update', 4), ('create', 8), ('delete', 16)) event(action, bit)
                WHERE pg_catalog.pg_relation_is_updatable(r.sound, true) & bit <> 0
            ),
            'granted', (
                SELECT coalesce(json_agg(action), '[]')
                FROM (VALUES
                    ('create', pg_catalog.has_any_column_privilege(r.oid, 'INSERT')),
                    ('update', pg_catalog.has_any_column_privilege(r.oid, 'UPDATE')),
                    ('delete', pg_catalog.has_table_privilege(r.oid, 'DELETE'))
                ) privilege(action, is_granted)
                WHERE is_granted
            ),
            'kept', coalesce(m.kept, '[]'),
            'mute', coalesce(m.mute, '[]'),
            'shows', (
                SELECT coalesce(json_agg(DISTINCT source.relname), '[]')
                FROM relation source
                WHERE source.oid <> r.oid AND (
                    EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid AND i.inhrelid = source.oid)
                    OR EXISTS (
                        SELECT FROM pg_catalog.pg_rewrite w
                        JOIN pg_catalog.pg_depend d
                          ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                        WHERE r.relkind = 'v' AND w.ev_class = r.oid
                              AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = source.oid
                    )
                )
            ),
            'comment', pg_catalog.obj_description(r.oid, 'pg_class')
        ) ORDER BY r.relname)
        FROM relation r
        LEFT JOIN named n ON n.oid = r.oid
        LEFT JOIN meddled m ON m.oid = r.oid
    ), '{}')
)
"""
"""One JSON value for the schema named by `$1`: a `Catalogue`."""
