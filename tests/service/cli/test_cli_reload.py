"""`pegboard reload` where it finds no service that it could reload: what is true, and the way out."""

from __future__ import annotations

import os
import pwd
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65_534

NO_SERVICE = "pegboard: no service runs with this config.toml and its state_dir: start it with `pegboard run`.\n"


@contextmanager
def barred(path: Path) -> Iterator[None]:
    """In here this process may not open it: root becomes somebody else, anybody else takes their own right away."""
    path.chmod(0o700 if os.geteuid() == 0 else 0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        try:
            yield
        finally:
            path.chmod(0o700)


@pytest.fixture
def house(cli: Any) -> Iterator[Path]:
    """Where everyone may come, unlike a test's own folder; commands have been run there, so all is imported."""
    with tempfile.TemporaryDirectory() as name:
        cli.folder = Path(name)
        cli.folder.chmod(0o755)
        cli.write("config.toml", "")
        (cli.folder / ".pegboard").mkdir()
        ended = cli.call("reload")
        assert (ended.code, ended.err) == (1, NO_SERVICE)
        yield cli.folder


def test_reload_of_another_users_service_names_the_user(cli: Any, house: Path) -> None:
    control = house / ".pegboard" / "control"
    control.mkdir()
    owner = pwd.getpwuid(os.geteuid()).pw_name
    with barred(control):
        ended = cli.call("reload")
    assert (ended.code, ended.out, ended.err) == (
        1,
        "",
        f"pegboard: services with this state_dir are those of user {owner}, and only that user and root may reach "
        f"them: run this as one of them, as in sudo -u {owner}.\n",
    )


def test_reload_through_a_socket_that_may_not_be_opened_is_not_taken_for_no_service(cli: Any, house: Path) -> None:
    control = house / ".pegboard" / "control"
    control.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(control / "1.sock"))
        listening.listen()
        with barred(control / "1.sock"):
            ended = cli.call("reload")
    assert ended.code == 1
    assert "only that user and root may reach them" in ended.err


def test_reload_with_a_state_dir_that_is_closed_says_who_would_know(cli: Any, house: Path) -> None:
    with barred(house / ".pegboard"):
        ended = cli.call("reload")
    assert (ended.code, ended.err) == (
        1,
        "pegboard: whether a service runs with this state_dir is for its own user and root to know: run this as one of "
        "them, as in sudo -u USER.\n",
    )


def test_reload_with_a_file_that_cannot_be_read_and_no_service_says_so(cli: Any) -> None:
    """Where services are is in that file."""
    cli.write("config.toml", "[service\n")
    ended = cli.call("reload")
    assert (ended.code, ended.err.partition(": ")[0]) == (78, "config.toml:1:9")
