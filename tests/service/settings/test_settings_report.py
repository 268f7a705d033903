"""The report: one for all faults, in the order of the file, without secrets, and with lines that work when pasted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import Field

from service.errors import SettingsError
from service.settings import PluginSettings, Secret, Settings, nearest
from service.settings.positions import Document
from service.settings.reporting import Fault

Load = Callable[..., Settings]
CANARY = "hunter2-canary"


def test_all_faults_come_in_one_report_in_the_order_of_the_file(load: Load) -> None:
    settings = load('[plugins.cache]\nenabled = true\nttl = 5\n[service]\nport = "x"\n[unknown]\n')
    settings.fault(("plugins", "cache"), "nobody has such a plugin", fix="use = ...")
    settings.fault(("nowhere",), "this is not in the file", fix="...")
    with pytest.raises(SettingsError) as raised:
        settings.raise_faults()
    lines = [line for line in str(raised.value).splitlines() if line.startswith("config.toml")]
    assert [line.split()[0] for line in lines] == [
        "config.toml", "config.toml:1", "config.toml:3", "config.toml:5", "config.toml:6"
    ]  # fmt: skip
    assert str(raised.value).endswith("\n\n5 faults.")
    assert raised.value.exit_code == 78


def test_no_fault_raises_nothing(load: Load) -> None:
    load("[service]\nport = 1\n").raise_faults()


def test_warning_does_not_stop(load: Load) -> None:
    settings = load("[plugins.cache]\nenabled = true\n")
    settings.warn(("plugins", "cache"), "is kept in memory", fix='store = "redis"')
    settings.raise_faults()
    assert settings.warnings == ('config.toml:1  plugins.cache: is kept in memory\n    write: store = "redis"',)


def test_loader_s_fault_stands_at_the_layer_that_had_the_last_word(load: Load) -> None:
    toml = "[plugins.cache]\nenabled = true\n[env.production.plugins.cache]\nenabled = false\n"
    for settings, place in (
        (load(toml, environment="production"), "config.toml:4"),
        (load(toml, overrides=["plugins.cache.enabled=false"]), "--set plugins.cache.enabled"),
    ):
        settings.fault(("plugins", "cache", "enabled"), "cannot be off", fix="enabled = true")
        assert [fault.place.text for fault in settings.faults] == [place]


class Rule(PluginSettings):
    actions: tuple[str, ...] = ()


class Role(PluginSettings):
    tables: dict[str, Rule] = {}


class Guarded(PluginSettings):
    roles: dict[str, Role] = {}


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            "[plugins.guard.roles.user.docs]\nactions = []\n",
            "write: plugins.guard.roles.user.tables.docs in place of plugins.guard.roles.user.docs",
        ),
        ("[plugins.guard.roles.user]\ndocs = {}\n", "write: plugins.guard.roles.user.tables.docs in place of"),
        ("[plugins.guard.roles.user]\ndocs = 1\n", "remove: docs"),
        ("[plugins.guard.roles.user.tables.docs]\nacts = {}\n", "write: actions ="),
        ("[plugins.guard.roles.user.tables.docs]\nxyz = {}\n", "remove: xyz"),
        ("[plugins.guard.roles.user.table.docs]\n", "write: [plugins.guard.roles.user.tables]"),
    ],
)
def test_table_that_stands_one_too_high_is_sent_below_the_one_setting_that_there_is(
    load: Load, toml: str, line: str
) -> None:
    settings = load(f"[plugins.guard]\nenabled = true\n{toml}")
    settings.bind("guard", Guarded, run=None)
    (fault,) = settings.faults
    assert line in str(fault)


def test_nearest_takes_the_only_name_that_begins_so_and_gives_up_on_what_nobody_means() -> None:
    assert nearest("prod", ["development", "production"]) == "production"
    assert nearest("created_at", ["createdAt", "id"]) == "createdAt"
    assert nearest("email" * 100, ["email" * 100]) is None


@pytest.mark.parametrize(
    ("name", "expected"), [("databse", "database"), ("Data-Base", "data_base"), ("x", None), ("cahce", "cache")]
)
def test_nearest_finds_misspellings_only(name: str, expected: str | None) -> None:
    assert nearest(name, ["database", "data_base", "cache", "limiter"]) == expected


def test_plugin_whose_validator_crashes_is_a_fault_without_the_values(load: Load) -> None:
    from pydantic import field_validator

    class Model(PluginSettings):
        secret: Secret

        @field_validator("secret")
        @classmethod
        def _crash(cls, secret: Secret) -> Secret:
            raise RuntimeError(secret.reveal())

    settings = load(f"[plugins.x]\nenabled = true\nsecret = '{CANARY}'\n")
    assert settings.bind("x", Model, run=None) is None
    assert "RuntimeError was raised" in settings.faults[0].message
    assert CANARY not in str(settings.faults[0])


@pytest.mark.parametrize(("written", "faults"), [('["HS255"]', ["algorithms[0]"]), ("[]", ["algorithms"])])
def test_list_is_not_said_to_be_empty_for_what_is_wrong_in_it(load: Load, written: str, faults: list[str]) -> None:
    class Model(PluginSettings):
        algorithms: Annotated[tuple[Literal["HS256", "RS256"], ...], Field(min_length=1)]

    settings = load(f"[plugins.x]\nenabled = true\nalgorithms = {written}\n")
    assert settings.bind("x", Model, run=None) is None
    assert [str(fault).split(":")[1].split()[-1] for fault in settings.faults] == [
        f"plugins.x.{name}" for name in faults
    ]


SECRET_LINES = [
    f"secret = '{CANARY}'",
    f"secret = ['{CANARY}']",
    f"secret = {{ a = '{CANARY}' }}",
    f"sercet = '{CANARY}'",
    f"issuer = {{ password = '{CANARY}' }}",
    f"keys = '{CANARY}'",
    f"keys = [{{ id = 'a', secret = ['{CANARY}'] }}]",
    f"keys = [{{ id = 5, secret = '{CANARY}' }}]",
    f"keys = [{{ idd = 5, secrt = '{CANARY}' }}]",
    f"previous = '{CANARY}'",
    f"previous = ['{CANARY}', 5]",
    f"previous = {{ x = '{CANARY}' }}",
    f"level = 'postgres://me:{CANARY}@host/x'",
    f"levle = 'postgres://me:{CANARY}@host/x'",
    f"api_key = '{CANARY}'",
    f"issuer = {{ env = 'X', default = 5, password = '{CANARY}' }}",
]


@pytest.mark.parametrize("line", SECRET_LINES)
def test_secrets_never_reach_a_report(load: Load, line: str) -> None:
    settings = load(f"[plugins.auth]\nenabled = true\n{line}\n", strict=True)
    report = "\n".join([str(fault) for fault in settings.faults])
    assert report
    assert CANARY not in report


@pytest.mark.parametrize(
    "key", ["secret", "secrt", "issuer", "keys", "level", "previous", "pool", "keys__x__secret", "password"]
)
def test_what_variables_and_options_hold_never_reaches_a_report(load: Load, key: str) -> None:
    toml = "[plugins.auth]\nenabled = true\n"
    environ = {f"PEGBOARD__PLUGINS__AUTH__{key.upper()}": CANARY}
    option = f"plugins.auth.{key.replace('__', '.')}={CANARY}"
    for settings in (load(toml, environ=environ, strict=True), load(toml, overrides=[option], strict=True)):
        assert CANARY not in "\n".join([str(fault) for fault in settings.faults])


# --- pasting the line to write makes the fault go away

GOOD = {
    "plugins.database": {"enabled": "true", "url": '"x"', "embedded": "false", "ratio": "0.5", "timeout": '"1s"'},
    "plugins.database.pool": {"min": "1", "max": "5", "idle": '"1s"'},
    "plugins.cache": {"enabled": "true", "ttl": '"1s"', "limit": '"1KiB"', "store": '"redis"', "budget": '"5/s"'},
    "plugins.resources": {"enabled": "true", "tables": '["a"]'},
    "plugins.resources.table.a": {"sort": '"id"', "hidden": '["b"]', "names": '"camel"'},
    "service": {"host": '"h"', "port": "1", "strict": "false", "plugin_dirs": '["a"]', "api_root": '"/a"'},
    "service.timeouts": {"drain": '"1s"', "handler": '"2s"'},
}
BAD = st.sampled_from(
    ['"x"', "5", "-5", "1.5", "true", "[]", "[1]", '["x", 2]', "{}", "{ a = 1 }", '""', '"5 s"', "99999", '"10"', "nan"]
)
SLOTS = [(table, key) for table, keys in GOOD.items() for key in keys if key != "enabled"]


@st.composite
def faulty(draw: st.DrawFn) -> str:
    """The good file with some values replaced and some keys misspelt."""
    wrong = draw(st.dictionaries(st.sampled_from(SLOTS), BAD, max_size=4))
    misspelt = draw(st.sets(st.sampled_from(SLOTS), max_size=2))
    inline = draw(st.booleans())
    text = ""
    for table, keys in GOOD.items():
        if inline and table == "plugins.database.pool":
            continue
        text += f"[{table}]\n"
        for key, value in keys.items():
            spelt = f"{key}x" if (table, key) in misspelt else key
            text += f"{spelt} = {wrong.get((table, key), value)}\n"
        if inline and table == "plugins.database":
            pool = GOOD["plugins.database.pool"]
            pairs = [f"{key} = {wrong.get(('plugins.database.pool', key), pool[key])}" for key in pool]
            text += f"pool = {{ {', '.join(pairs)} }}\n"
    return text


def pasted(toml: str, fault: Fault) -> str:
    """`toml` with the line to write in the place of what it replaces."""
    spots = Document(Path("config.toml"), toml).spots
    path = fault.path
    while path not in spots or spots[path].form == "item":
        path = path[:-1]
    spot = spots[path]
    content = toml.encode()
    fix = "" if fault.verb == "remove" else fault.fix
    return (content[: spot.start_byte] + fix.encode() + content[spot.end_byte :]).decode()


@given(toml=faulty())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_pasting_the_line_to_write_makes_the_fault_go_away(load: Load, toml: str) -> None:
    for _ in range(12):
        settings = load(toml)
        if not settings.faults:
            break
        fault = settings.faults[0]
        toml = pasted(toml, fault)
        assert fault not in load(toml).faults, f"{fault}\n---\n{toml}"
    else:
        raise AssertionError(f"faults remain\n{toml}")


@pytest.mark.parametrize(
    ("toml", "fix"),
    [
        ("plugins.database.enabled = true\nplugins.database.pol.max = 5\n", "plugins.database.pool.max = 5"),
        ("[plugins.database]\nenabled = true\npol.max = 5\npol.min = 1\n", "pool.max = 5\npool.min = 1"),
        ("[plugins.database]\nenabled = true\n[plugins.database.pol]\nmax = 5\n", "[plugins.database.pool]"),
        ("[plugins.database]\nenabled = true\npol = { max = 5 }\n", "pool = { max = 5 }"),
        ('[plugins.database]\nenabled = true\nulr = { env = "X" }\n', 'url = { env = "X" }'),
    ],
)
def test_misspelt_key_is_written_again_in_the_form_it_had(load: Load, toml: str, fix: str) -> None:
    assert [fault.fix for fault in load(toml, environ={"X": "x"}).faults] == [fix]


@pytest.mark.parametrize(
    ("toml", "fix"),
    [
        ("[plugins.auth]\nenabled = true\nsecret = 's'\n", 'issuer = "..."'),
        ("plugins.auth.enabled = true\nplugins.auth.secret = 's'\n", 'plugins.auth.issuer = "..."'),
        ("plugins = { auth = { enabled = true, secret = 's' } }\n", 'issuer = "..."'),
        ("[plugins]\nauth.enabled = true\nauth.secret = 's'\n", 'auth.issuer = "..."'),
    ],
)
def test_missing_key_is_written_in_the_form_of_its_table(load: Load, toml: str, fix: str) -> None:
    assert [fault.fix for fault in load(toml).faults] == [fix]


@pytest.mark.parametrize(
    "toml",
    [
        'pol = { max = { env = "X" } }',
        'pol.max = { env = "X" }',
        '[plugins.database.pol]\nmax = { env = "X" }',
        'pool = { env = "X" }',
        'pool = { max = { env = "X" } }',
        'embedded = { env = "X", default = true }',
        'ulr = { env = "X" }',
    ],
)
def test_what_a_referenced_variable_holds_is_never_repeated(load: Load, toml: str) -> None:
    settings = load(f"[plugins.database]\nenabled = true\n{toml}\n", environ={"X": CANARY})
    assert settings.faults
    assert CANARY not in "\n".join([str(fault) for fault in settings.faults])


def test_fault_inside_a_table_that_a_variable_holds_is_the_variable_s(load: Load) -> None:
    settings = load('[plugins.database]\nenabled = true\npool = { env = "POOL" }\n', environ={"POOL": "{ mx = 50 }"})
    (fault,) = settings.faults
    assert (fault.place.text, fault.fix) == ("config.toml:3", "export POOL='{ max = 50 }'")


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("0o660", '"660"'),  # which is 432, and as digits that would let everyone in
        ("0o600", '"600"'),
        ("700", '"700"'),
        ("432", '"660"'),
        ('"rw-rw----"', '"660"'),
        ('"0o660"', '"660"'),
        ('"2660"', '"660"'),
        ('"680"', '"660"'),
        ("true", '"660"'),
    ],
)
def test_mode_of_a_socket_is_octal_digits_in_quotes(load: Load, written: str, fix: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(f"[service]\nsocket_mode = {written}\n").raise_faults()
    assert str(raised.value) == (
        "config.toml:2  service.socket_mode: must be three octal digits in quotes, for owner, group and others, like "
        f'"660"\n    write: socket_mode = {fix}'
    )
