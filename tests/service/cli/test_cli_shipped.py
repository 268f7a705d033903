"""config.toml as it is shipped: what is live, what is commented out, and that `init` writes it."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from service.cli.check import NOT_LOOKED_AT

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "config.toml").read_text()

SCREEN_LINES = 50
"""What an editor shows on a laptop (chosen)."""

PROMISED = """
[service]
host = "127.0.0.1"
port = { env = "PORT", default = 3000 }
default_env = "development"
api_root = "/api"
plugin_dirs = ["plugins"]
strict = true
[service.timeouts]
handler = "30s"
drain = "5s"
shutdown = "10s"
[service.limits]
body = "1MiB"

[plugins.database]
enabled = true
url = { env = "DATABASE_URL" }
pool = { min = { env = "DB_POOL_MIN", default = 2 }, max = { env = "DB_POOL_MAX", default = 10 }, idle = "30s", connect = "2s", acquire = "2s" }
timeouts = { start = "30s", read = "2s", write = "5s", count = "1s" }

[plugins.resources]
enabled = true
schema = "public"
tables = ["users", "orders"]
[plugins.resources.table.users]
sort = "-created_at"
hidden = ["password_hash"]

[plugins.health]
enabled = true
[plugins.home]
enabled = true
[plugins.auth]
enabled = true
default = "required"
secret = { env = "JWT_SECRET" }
expires = { env = "JWT_EXPIRES_IN", default = "24h" }
[plugins.logs]
enabled = true
format = "json"

[env.development.service]
strict = false
timeouts = { drain = "0s" }
[env.development.plugins]
database = { embedded = true }
auth = { default = "optional", roles = { "*" = { tables = { "*" = { actions = ["read", "list", "create", "update", "delete"] } } } } }
[env.production.service]
host = "0.0.0.0"
"""  # noqa: E501
"""Names are part of the product: what operators have written stays valid."""


def uncommented(text: str) -> str:
    """`text` with every setting that is commented out made live."""
    return re.sub(r'^# (\[[\w."*]+\]|[\w.]+ = )', r"\1", text, flags=re.MULTILINE)


def test_shipped_config_says_what_is_promised() -> None:
    assert tomllib.loads(SHIPPED) == tomllib.loads(PROMISED)


def test_shipped_config_is_three_screens_at_most() -> None:
    assert len(SHIPPED.splitlines()) <= 3 * SCREEN_LINES


def test_shipped_config_says_of_every_setting_what_it_is_for() -> None:
    lines = SHIPPED.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?[\w.]+ = ", line):
            assert re.search(r"\S  +# \w", line) or lines[number - 1].startswith("# "), line


def test_what_is_commented_out_is_valid(cli: Any) -> None:
    text = uncommented(SHIPPED)
    assert len(tomllib.loads(text)["plugins"]["resources"]["table"]["users"]) > 2
    cli.write("config.toml", text)
    ended = cli.call("check")
    assert ended.code == 0, ended.err


def test_what_is_commented_out_has_its_default(cli: Any) -> None:
    cli.write("shipped.toml", SHIPPED)
    cli.write("live.toml", uncommented(SHIPPED).partition("# --- settings for single routes")[0])
    given = ("--set", "plugins.database.url=postgres://u@h/d", "--set", f"plugins.auth.secret={'s' * 64}")
    production = (*given, "--json")  # not [env.development], which differs

    def values(name: str) -> dict[str, str]:
        rows = cli.call("config", "show", "--config", name, "--set", "service.default_env=none", *production).json
        return {row["path"]: row["value"] for row in rows}

    without, live = values("shipped.toml"), values("live.toml")
    examples = {"key", "fields", "path", "modified", "writes"}  # the primary key, all columns, its own name; none, all
    for path, value in live.items():
        if path.rpartition(".")[2] in examples and ".table." in path:
            continue
        without_default = (
            "plugins.health.http",
            "plugins.home.url",
            "plugins.resources.table.orders",
            "plugins.redis",
            "plugins.auth.issuer",
            "plugins.auth.login",
            "plugins.auth.roles",
            "service.listen",
            "service.tls",
            "service.operator",
        )
        if path.startswith(without_default):
            continue
        if path.endswith("users.limit"):
            assert value == "10"
            continue
        assert value == without[path], path


def test_init_writes_the_shipped_config(cli: Any) -> None:
    ended = cli.call("init")
    assert ended.code == 0
    assert "pegboard run" in ended.out
    assert (cli.folder / "config.toml").read_text() == SHIPPED
    assert files("service").joinpath("config.toml").read_text() == SHIPPED


def test_init_leaves_a_folder_that_passes_its_check(cli: Any) -> None:
    cli.call("init")
    assert not (cli.folder / "plugins").exists()
    ended = cli.call("check")
    assert (ended.code, ended.err) == (0, f"{NOT_LOOKED_AT}\n")
