"""Faulty configurations and their whole reports, word for word: `golden/NAME.toml` and `golden/NAME.txt`.

A file says in its first lines how it is read: `#! export X=1`, `#! --set a.b=1`, `#! --env NAME`, `#! file NAME=TEXT`,
`#! routes NAME NAME`, `#! strict`. After a change of wording: `PEGBOARD_GOLDEN=write pytest tests/service/settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.toml"))
CANARY = "hunter2"


def options_of(toml: str, folder: Path) -> dict[str, object]:
    environ: dict[str, str] = {}
    overrides: list[str] = []
    options: dict[str, object] = {"environ": environ, "overrides": overrides}
    for line in toml.splitlines():
        if not line.startswith("#! "):
            continue
        word, _, rest = line.removeprefix("#! ").partition(" ")
        name, _, value = rest.partition("=")
        match word:
            case "export":
                environ[name] = value
            case "--set":
                overrides.append(rest)
            case "--env":
                options["environment"] = rest
            case "file":
                (folder / name).write_text(f"{value}\n")
            case "routes":
                options["routes"] = rest.split()
            case "strict":
                options["strict"] = True
            case _:
                raise AssertionError(f"{word} is not an option of a golden file")
    return options


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_report_is_word_for_word(case: Path, tmp_path: Path, load: Callable[..., Settings]) -> None:
    toml = case.read_bytes().decode()
    with pytest.raises(SettingsError) as raised:
        load(toml, **options_of(toml, tmp_path)).raise_faults()
    report = f"{raised.value}\n"
    expected = case.with_suffix(".txt")
    if os.environ.get("PEGBOARD_GOLDEN") == "write":
        expected.write_text(report, encoding="utf-8")
    assert report == expected.read_text(encoding="utf-8")


def test_golden_files_are_at_least_twenty_and_none_is_left_over() -> None:
    assert len(CASES) >= 20
    assert {case.stem for case in CASES} == {report.stem for report in GOLDEN.glob("*.txt")}


def test_golden_reports_show_no_secret() -> None:
    told = [case for case in CASES if CANARY in case.read_text(encoding="utf-8", errors="replace")]
    assert len(told) >= 4
    for case in CASES:
        assert CANARY not in case.with_suffix(".txt").read_text(encoding="utf-8")
