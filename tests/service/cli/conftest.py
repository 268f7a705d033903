"""The real command in a folder of its own: `cli(...)` runs it to its end, `cli.start(...)` until the test ends it."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.cli import main

ROOT = Path(__file__).parents[3]

LIMIT_S = 60.0
"""No command of a test takes longer, on the slowest machine."""

OURS = ("PEGBOARD", "DATABASE_URL", "DB_POOL", "PORT", "NO_COLOR", "FORCE_COLOR", "PYTHON")


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Started:
    """A running `pegboard run`."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self.process = process
        self._out = out
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.err = ""
        """What was read of standard error."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in standard error; fails if the process ends before."""
        while (found := re.search(pattern, self.err)) is None:
            line = self._lines.get(timeout=LIMIT_S)
            assert line is not None, f"ended with {self.process.wait(LIMIT_S)}:\n{self.err}"
            self.err += line
        return found

    @property
    def url(self) -> str:
        return self.wait_for(r"routes on (http://[^\s,]+)")[1]

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=LIMIT_S) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_until_ready(self) -> None:
        """Until every critical probe has passed once, which is some milliseconds after it listens."""
        deadline = time.monotonic() + LIMIT_S
        while self.get("/health/ready")[0] != 200:
            assert time.monotonic() < deadline, "it never became ready"

    def end(self, number: signal.Signals = signal.SIGINT) -> Ended:
        """Signal it and wait until it is gone."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> Ended:
        code = self.process.wait(LIMIT_S)
        while (line := self._lines.get(timeout=LIMIT_S)) is not None:
            self.err += line
        return Ended(code, self._out.read_text(), self.err)


class Cli:
    """Commands in `folder`, with the variables `environ`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        self.environ["PYTHONPATH"] = str(ROOT)  # where Pegboard is not installed
        self.command: Sequence[str] = (sys.executable, "-P", "-m", "service")
        self.running: list[Started] = []

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ended:
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def call(self, *arguments: str) -> Ended:
        """As calling the fixture, inside this process, which is quicker: for commands that open nothing."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name in os.environ.keys() - self.environ.keys():
                patch.delenv(name)
            for name, text in self.environ.items():
                patch.setenv(name, text)
            code = main(arguments)
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> Started:
        out = self.folder / f"out-{len(self.running)}"
        with out.open("w") as stream:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.folder,
                env=self.environ,
                stdout=stream,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        self.running.append(Started(process, out))
        return self.running[-1]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    folder = tmp_path / "work"
    folder.mkdir()
    made = Cli(folder)
    yield made
    for started in made.running:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait(LIMIT_S)
        assert started.process.stderr is not None
        started.process.stderr.close()
