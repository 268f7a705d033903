"""The Makefile, with stand-ins for what it would install."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not here")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which everything is installed already, as make sees it."""
    for name in ("setup.cfg", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "embedded").touch()
    return tmp_path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def environ() -> dict[str, str]:
    """The variables without what `make test` has told this process."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environ(), capture_output=True, text=True, timeout=60, check=False
    )


def test_run_installs_nothing_twice(clone: Path) -> None:
    script(clone / ".venv" / "bin" / "pegboard", 'echo "started: $*"')
    done = make(clone, "run")
    assert (done.returncode, done.stdout, done.stderr) == (0, "started: run\n", "")


def test_run_installs_again_when_there_is_something_new_to_install(clone: Path) -> None:
    (clone / ".venv" / "embedded").unlink()
    (clone / ".venv" / "bin" / "python").unlink()
    script(clone / ".venv" / "bin" / "python", 'echo "python $*"')
    script(clone / ".venv" / "bin" / "pegboard", "echo started")
    done = make(clone, "run")
    assert "-m pip install" in done.stdout
    assert "-e .[embedded]" in done.stdout
    assert (clone / ".venv" / "embedded").exists()
    assert make(clone, "run").stdout == "started\n"


def test_old_python_is_refused_in_one_sentence(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    old = script(clone / "old-python", "exit 1")
    done = make(clone, "run", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Pegboard needs Python 3.11 or later" in done.stderr
    assert "make run PYTHON=" in done.stderr
    assert len(done.stderr.splitlines()) == 2  # the second is make's own
    assert not (clone / ".venv").exists()


def test_interrupted_run_leaves_no_process_and_no_noise(clone: Path) -> None:
    waiting = "trap 'exit 0' INT; echo $$ > pid; echo ready; while :; do sleep 0.05; done"
    script(clone / ".venv" / "bin" / "pegboard", waiting)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "import os, pty; os.login_tty(0); os.execvp('make', ['make', 'run'])"]
    if not hasattr(os, "login_tty"):  # pragma: no cover - Python 3.11 has setsid and a controlling terminal by hand
        command[2] = (
            "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execvp('make', ['make', 'run'])"
        )
    process = subprocess.Popen(command, cwd=clone, env=environ(), stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        os.close(theirs)
        shown = b""
        while b"ready" not in shown:
            assert select.select([ours], [], [], 60)[0]
            shown += os.read(ours, 4096)
        os.write(ours, b"\x03")
        process.wait(60)
        while select.select([ours], [], [], 0)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    lines = shown.replace(b"ready", b"").replace(b"^C", b"").splitlines()
    # GNU make 4.3 itself may complain that its child ended before it looked: a race of its own signal handler.
    assert [line for line in lines if line.strip() and not line.startswith(b"make: ")] == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((clone / "pid").read_text()), 0)
