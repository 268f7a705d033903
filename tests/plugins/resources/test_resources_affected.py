"""What else a write changes: along foreign keys, through views, up and down partitions; and no more than that."""

from __future__ import annotations

import pytest

from plugins.resources.schema.affected import affected_by
from plugins.resources.schema.catalogue import ForeignKey


def refers(target, column="ref", *, to="id", on_delete=None, on_update=None):
    return (ForeignKey("f", (column,), target, (to,), on_delete, on_update),)


@pytest.fixture
def catalogue(build):
    def table(name, **facts):
        return build.table(name, build.column("id", "int4"), build.column("ref", "int4"), **facts)

    return build.catalogue(
        table("root"),
        table("cascaded", foreign_keys=refers("root", on_delete="delete")),
        table("below", foreign_keys=refers("cascaded", on_delete="update")),
        table("kept", foreign_keys=refers("root")),
        table("loop", foreign_keys=refers("loop", on_delete="delete")),
        table("follows", foreign_keys=refers("root", on_update="update")),
        table("follows_the_follower", foreign_keys=refers("follows", to="ref", on_update="update")),
        table("view", relation="view", shows=("below",)),
        table("view_of_view", relation="view", shows=("view",)),
        table("parted", relation="partitioned table", shows=("part_1", "part_2")),
        table("part_1", is_partition=True),
        table("part_2", is_partition=True),
        table("of_parted", foreign_keys=refers("parted", on_delete="delete")),
    )


@pytest.mark.parametrize(
    ("name", "action", "columns", "reached"),
    [
        ("root", "create", {"id"}, set()),
        ("root", "delete", (), {"cascaded", "below", "view", "view_of_view"}),
        ("root", "update", {"ref"}, set()),
        ("root", "update", {"id", "ref"}, {"follows", "follows_the_follower"}),
        ("below", "update", {"ref"}, {"view", "view_of_view"}),
        ("kept", "delete", (), set()),
        ("loop", "delete", (), set()),
        ("view_of_view", "update", {"ref"}, {"view", "below"}),
        ("parted", "create", {"id"}, {"part_1", "part_2"}),
        ("part_1", "update", {"ref"}, {"parted"}),
        ("part_1", "delete", (), {"parted", "of_parted"}),
    ],
)
def test_write_reaches_these_tables_and_no_others(catalogue, name, action, columns, reached):
    assert set(affected_by(catalogue, catalogue.tables[name]).of(action, columns)) == reached
