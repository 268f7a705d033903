"""Reading a file: what leaves nothing to check, awkward files, and the text of a syntax error."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import SettingsError
from service.settings import Settings, read
from service.settings.positions import Document
from service.settings.reading import syntax_fault


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as raised:
        read(path, environ={})
    return str(raised.value)


def test_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    assert refusal(tmp_path / "config.toml").endswith(
        "there is no such file; write one with `pegboard init`, or name another with --config."
    )


def test_folder_says_to_name_the_file_in_it(tmp_path: Path) -> None:
    assert f"--config {tmp_path / 'config.toml'}" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_says_how_to_make_it_readable(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch(mode=0o000)
    assert f"chmod u+r {config}" in refusal(config)


def test_impossible_name_is_one_sentence() -> None:
    assert "cannot be read" in refusal(Path("a\0b"))


def test_other_encodings_are_refused_with_the_line(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes('[service]\n# café\nhost = "é"\n'.encode("latin-1"))
    assert f"{config}:2: is not UTF-8" in refusal(config)


@pytest.mark.parametrize(
    "toml",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "[plugins.x]\nx = " + "[" * 60 + "]" * 60,
        ".".join(["a"] * 3000) + " = 1",
        "[service]\nport = " + "9" * 5000,
        "#" * (5 * 1024 * 1024),
    ],
    ids=["nested", "over the limit", "dots", "number", "size"],
)
def test_monstrous_files_are_refused_in_one_sentence(tmp_path: Path, toml: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(toml)
    assert refusal(config).startswith(f"{config}: ")


@pytest.mark.parametrize(
    "toml", ["", "\n\n", "# nothing\n", "\ufeff[service]\nport = 1\n", "[service]\r\nport = 1\r\n"]
)
def test_empty_files_byte_order_marks_and_crlf_are_fine(load: Callable[..., Settings], toml: str) -> None:
    load(toml).raise_faults()


def test_lines_are_counted_the_same_with_crlf_and_a_byte_order_mark(load: Callable[..., Settings]) -> None:
    settings = load('\ufeff# first\r\n[service]\r\nport = "x"\r\n')
    assert [fault.place.text for fault in settings.faults] == ["config.toml:3"]


def test_control_characters_of_a_file_do_not_reach_the_terminal(load: Callable[..., Settings]) -> None:
    settings = load('[service]\n"\\u001b[31mred" = 1\n')
    assert "\x1b" not in str(settings.faults[0])


@given(st.text(alphabet=st.sampled_from(list("ab=[]{}.,'\"\n #1-\\")), max_size=40))
def test_every_syntax_error_is_one_fault_with_a_line(toml: str) -> None:
    try:
        tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        fault = syntax_fault(Document(Path("config.toml"), toml), str(error))
        name, line, *_ = str(fault).split(":")
        assert name == "config.toml"
        assert 1 <= int(line) <= toml.count("\n") + 1


@pytest.mark.parametrize(
    "toml",
    [
        'password = "hunter2',
        "password = hunter2",
        "password hunter2",
        'name = "hunter2',
        "name = 'hunter2",
        'a = """\nhunter2\n',
        'a = """\nhunter2 \\q\n"""',
        "url = postgres://app:hunter2@db/app",
        'url = "postgres://app:hunter2@db/app" x',
        'pool = { password = "hunter2",\n max = 1 }',
        'x = 1\nx = "hunter2"',
        "token: hunter2",
    ],
)
def test_syntax_errors_show_no_secret(tmp_path: Path, toml: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(toml)
    assert "hunter2" not in refusal(config)
