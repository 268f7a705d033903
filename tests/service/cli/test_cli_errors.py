"""Mistakes: one sentence with the way out and an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EMPTY = "[service]\nport = 0\n"


def refused(ended: Any, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize("command", ["run", "check", "plugins", "routes", "config show", "config schema"])
def test_missing_config_leads_to_init(cli: Any, command: str) -> None:
    refused(cli.call(*command.split()), 78, "config.toml: there is no such file", "pegboard init")


def test_port_that_is_taken_leads_to_another(cli: Any) -> None:
    cli.write("config.toml", EMPTY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(cli("run", "--port", str(port)), os.EX_UNAVAILABLE, f"port {port}", f"--port {port + 1}")


def test_address_of_another_machine_is_refused(cli: Any) -> None:
    cli.write("config.toml", EMPTY)
    refused(cli("run", "--host", "192.0.2.1"), os.EX_UNAVAILABLE, "192.0.2.1", 'host = "127.0.0.1"')


def test_folder_that_cannot_be_written_leads_to_another(cli: Any) -> None:
    lost = cli.folder / "lost"
    lost.mkdir()
    command = f"import os, sys; os.chdir({str(lost)!r}); os.rmdir({str(lost)!r})\n"  # root may write anywhere else
    command += "from service.cli import main; sys.exit(main(['init']))"
    done = subprocess.run(
        [sys.executable, "-c", command], env=cli.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == os.EX_CANTCREAT
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_state_folder_that_cannot_be_made_is_one_sentence(cli: Any) -> None:
    cli("init")
    cli.write(".pegboard", "a file in its place")
    refused(cli("run", "--port", "0"), 78, ".pegboard", "state_dir")


def test_init_never_writes_over_a_file(cli: Any) -> None:
    cli.write("config.toml", "mine")
    refused(cli.call("init"), os.EX_CANTCREAT, "config.toml", "move it away")
    assert (cli.folder / "config.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("rnu",), "Did you mean 'run'?"),
        (("run", "--prot", "1"), "--port"),
        (("run", "--port", "65536"), "65536"),
        (("config", "diff", "development"), "B"),
    ],
)
def test_wrong_command_line_is_a_usage_error(cli: Any, arguments: tuple[str, ...], word: str) -> None:
    refused(cli.call(*arguments), 2, word)


def test_fault_in_a_plugin_names_plugin_and_place(cli: Any) -> None:
    cli.write("config.toml", EMPTY + "[plugins.broken]\nenabled = true\n")
    cli.write("plugins/broken.py", "import nowhere_to_be_found\n")
    refused(cli("run"), 78, "plugins.broken", "nowhere_to_be_found", "broken.py", "enabled = false")


def test_crash_of_our_own_shows_its_traceback_and_asks_for_a_report(cli: Any) -> None:
    command = "import sys, service.cli.init as init\n"
    command += "from service.cli import main\n"
    command += "init.init.callback = lambda: 1 / 0\n"
    command += "sys.exit(main(['init']))"
    done = subprocess.run(
        [sys.executable, "-c", command], env=cli.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == os.EX_SOFTWARE
    assert "ZeroDivisionError" in done.stderr
    assert "report" in done.stderr.splitlines()[-1]


def test_interrupted_command_ends_quietly_with_130(cli: Any) -> None:
    cli.write("config.toml", EMPTY + "[plugins.slow]\nenabled = true\n")
    cli.write(
        "plugins/slow.py",
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(600)\nclass Plugin: pass\n",
    )
    started = cli.start("check")
    started.wait_for("importing")
    ended = started.end(signal.SIGINT)
    assert ended.code == 130
    assert ended.err.split() == ["importing"]


def test_output_that_nobody_reads_is_no_crash(cli: Any, tmp_path: Path) -> None:
    cli.write("config.toml", EMPTY)
    with subprocess.Popen(
        [*cli.command, "config", "schema"],
        cwd=cli.folder,
        env=cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        process.wait(60)


def test_exit_codes_are_those_that_the_module_documents() -> None:
    from service.cli import INTERRUPTED, doctor, exits
    from service.control import ControlError
    from service.errors import StartError
    from service.listening import ListenError

    documented = {int(line.split()[0]) for line in (exits.__doc__ or "").splitlines() if line[4:5].isdigit()}
    used = {0, 2, doctor.FAILED, INTERRUPTED, os.EX_IOERR, os.EX_SOFTWARE}
    used |= {kind.exit_code for kind in (StartError, ListenError, ControlError, exits.CannotWrite)}
    assert documented == used


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_full_disk_behind_standard_output_is_one_sentence(cli: Any) -> None:
    cli.write("config.toml", "")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*cli.command, "plugins"],
            cwd=cli.folder,
            env=cli.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == os.EX_IOERR
    assert ended.stderr == "pegboard: the output cannot be written (No space left on device); send it elsewhere.\n"
