"""What PostgreSQL knows of the tables of one schema: rows, statistics, indexes, and how often these were used.

`FACTS` gives one JSON value for a schema and names of tables, in the shape of the values below. A partitioned table has
the sums of its partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class IndexColumn:
    """One column that an index is ordered by, or finds by."""

    name: str | None
    """None for an expression."""
    is_descending: bool
    nulls_first: bool
    opclass: str
    """What compares: `text_ops`, `text_pattern_ops`, `gin_trgm_ops`."""
    is_usual: bool
    """True where opclass and collation are those of the column, which `=` and ORDER BY go by."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index of a table."""

    name: str
    method: str
    """`btree`, `hash`, `gin`."""
    columns: tuple[IndexColumn, ...]
    rows: Literal["all", "not null", "some"]
    """Which rows are in it: of a partial one `some`, or all but those whose first column is NULL."""
    is_unique: bool
    is_valid: bool
    is_needed: bool
    """True where more than speed depends on it: a constraint, uniqueness, replication."""
    is_partitioned: bool
    """True where it is the index of a partitioned table, or of a partition along with that: no single one to drop."""
    bytes: int
    scans: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one table."""

    rows: int | None
    """As the planner estimates; None where nobody has counted them yet."""
    bytes: int
    is_analysed: bool
    changed: int
    """Rows inserted, updated and deleted since it was analysed."""
    scans: int
    """How often it was read since the statistics of the database began. By a key that foreign keys refer to does not
    count: that is how PostgreSQL checks those, in a database that no client has read."""
    indexes: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the database."""

    since: datetime | None
    """Since when scans are counted: when the server was made or had crashed, or was told to begin anew."""
    statements: str | None
    """The schema of pg_stat_statements; None where that is not installed."""
    has_trigrams: bool
    """Whether pg_trgm is installed."""
    tables: Mapping[str, Facts]


def read_facts(body: bytes) -> Known:
    """The values behind what `FACTS` gave."""
    return TypeAdapter(Known).validate_json(body)


FACTS = """
WITH relation AS (
    SELECT c.oid, c.relname, c.relkind, n.nspname
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relname = ANY ($2::text[])
), leaf AS (  -- where the rows are
    SELECT oid AS root, oid FROM relation WHERE relkind <> 'p'
    UNION ALL
    SELECT r.oid, p.relid
    FROM relation r
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) p
    WHERE r.relkind = 'p' AND p.isleaf
), counted AS (
    SELECT l.root,
           CASE WHEN bool_and(c.reltuples >= 0) THEN sum(c.reltuples)::bigint END AS rows,
           sum(pg_catalog.pg_relation_size(c.oid))::bigint AS bytes,
           coalesce(sum(s.n_mod_since_analyze), 0)::bigint AS changed,
           coalesce(sum(s.seq_scan + coalesce(s.idx_scan, 0) - coalesce((
               SELECT sum(x.idx_scan)
               FROM pg_catalog.pg_stat_all_indexes x
               WHERE x.relid = l.oid
               AND EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.conindid = x.indexrelid AND f.contype = 'f')
           ), 0)), 0)::bigint AS scans,
           bool_or(s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL) AS is_analysed
    FROM leaf l
    JOIN pg_catalog.pg_class c ON c.oid = l.oid
    LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = l.oid
    GROUP BY l.root
)
SELECT json_build_object(
    'since', greatest(  -- a database that was never told to begin anew has NULL
        (SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()),
        (SELECT stats_reset FROM pg_catalog.pg_stat_archiver)
    ),
    'statements', (
        SELECT n.nspname
        FROM pg_catalog.pg_extension e
        JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements'
    ),
    'has_trigrams', EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_trgm'),
    'tables', coalesce((
        SELECT json_object_agg(r.relname, json_build_object(
            'rows', k.rows,
            'bytes', coalesce(k.bytes, 0),
            'is_analysed', pg_catalog.row_security_active(r.oid)  -- which hides whether there are statistics
                OR (r.relkind <> 'p' AND coalesce(k.is_analysed, false))
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_stats s WHERE s.schemaname = r.nspname AND s.tablename = r.relname
                ),
            'changed', coalesce(k.changed, 0),
            'scans', coalesce(k.scans, 0),
            'indexes', coalesce((
                SELECT json_agg(json_build_object(
                    'name', x.relname,
                    'method', m.amname,
                    'columns', (
                        SELECT json_agg(json_build_object(
                            'name', a.attname,
                            'is_descending', coalesce(i.indoption[part.at - 1] & 1 > 0, false),
                            'nulls_first', coalesce(i.indoption[part.at - 1] & 2 > 0, false),
                            'opclass', o.opcname,
                            'is_usual', o.opcdefault AND (
                                i.indcollation[part.at - 1] = 0 OR i.indcollation[part.at - 1] = a.attcollation
                            )
                        ) ORDER BY part.at)
                        FROM unnest(i.indkey::int2[]) WITH ORDINALITY part(number, at)
                        JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[part.at - 1]
                        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = part.number
                            AND part.number > 0
                        WHERE part.at <= i.indnkeyatts
                    ),
                    'rows', CASE
                        WHEN i.indpred IS NULL THEN 'all'
                        WHEN pg_catalog.pg_get_expr(i.indpred, i.indrelid) = (
                            SELECT format('(%I IS NOT NULL)', a.attname)
                            FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = r.oid AND a.attnum = i.indkey[0]
                        ) THEN 'not null'
                        ELSE 'some'
                    END,
                    'is_unique', i.indisunique,
                    'is_valid', i.indisvalid,
                    'is_needed', i.indisunique OR i.indisexclusion OR i.indisreplident OR EXISTS (
                        SELECT FROM pg_catalog.pg_constraint f WHERE f.conindid = i.indexrelid
                    ),
                    'is_partitioned', x.relkind = 'I' OR x.relispartition,
                    'bytes', pg_catalog.pg_relation_size(x.oid),
                    'scans', coalesce(s.idx_scan, 0)
                ) ORDER BY x.relname)
                FROM pg_catalog.pg_index i
                JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                JOIN pg_catalog.pg_am m ON m.oid = x.relam
                LEFT JOIN pg_catalog.pg_stat_all_indexes s ON s.indexrelid = i.indexrelid
                WHERE i.indrelid = r.oid
            ), '[]')
        ))
        FROM relation r
        LEFT JOIN counted k ON k.root = r.oid
    ), '{}')
)
"""
"""One JSON value for the schema `$1` and its tables `$2`: a `Known`."""
