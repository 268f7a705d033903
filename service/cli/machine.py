"""What `pegboard doctor` looks at outside the plugins: the interpreter, packages, limits, the clock, folders, the disk.

Each look is a function that gives a `Finding`: how it is, in one sentence that ends with the way out. Nothing is
changed, and nothing is asked over a network.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import resource
import shutil
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

from aiohttp import http_parser
from packaging.requirements import Requirement

import service
from service.errors import timestamp

DISTRIBUTION: Final = "pegboard"

FOR_TESTS: Final = ("test", "testing")
"""Extras that no running service needs."""

OPENSSL_FLOOR: Final = (3, 0)
"""The first OpenSSL that is newer than those without fixes: 1.1.1 ended in September 2023 (openssl-library.org)."""

DISK_LOW_BYTES: Final = 2**30
DISK_FULL_BYTES: Final = 64 * 2**20
"""Free space that is soon used up, and with which a database cannot write (chosen)."""

TIME_ERROR: Final = 5
"""What adjtimex(2) returns where nothing keeps the clock in time."""

TIMEX_BYTES: Final = 512
"""More than a struct timex has on any platform: 208."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and not as well as it could."""
    FAIL = "fail"
    """The service does not start, or not for long."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one thing has shown."""

    level: Level
    what: str
    text: str


def interpreter() -> Finding:
    text = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    if ssl.OPENSSL_VERSION_INFO < OPENSSL_FLOOR:
        floor = ".".join(map(str, OPENSSL_FLOOR))
        return Finding(Level.WARN, "python", f"{text}, which gets no fixes; use a Python with OpenSSL {floor} or later")
    return Finding(Level.OK, "python", text)


def own_requirements() -> list[str] | None:
    """What the distribution says that it needs, or None where Pegboard runs from a folder and is none."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None


def installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages(
    requirements: Iterable[str] | None, version_of: Callable[[str], str | None] = installed_version
) -> Iterator[Finding]:
    """One finding for each package that is missing or of a version not asked for, else just one."""
    if requirements is None:
        text = (
            "versions cannot be compared, since Pegboard is not installed but runs from a folder; write: pip install ."
        )
        yield Finding(Level.WARN, "packages", text)
        return
    count, are_right = 0, True
    for requirement in map(Requirement, requirements):
        is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        version = version_of(requirement.name)
        if not is_needed and (version is None or _is_for_tests(requirement)):
            continue
        count += 1
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            continue
        are_right = False
        way_out = f"write: pip install '{requirement.name}{requirement.specifier}'"
        if version is None:
            yield Finding(Level.FAIL, "packages", f"{requirement.name} is not installed; {way_out}")
        elif is_newer(version, requirement):
            yield Finding(
                Level.WARN, "packages", f"{requirement.name} {version} is newer than what was tried; {way_out}"
            )
        else:
            level = Level.FAIL if is_needed else Level.WARN
            yield Finding(level, "packages", f"{requirement.name} {version} is too old; {way_out}")
    if are_right:
        yield Finding(
            Level.OK, "packages", f"{count}, each of a version that Pegboard {service.__version__} was made for"
        )


def _is_for_tests(requirement: Requirement) -> bool:
    """True for what only authors' tests need."""
    marker = requirement.marker
    return marker is not None and any(marker.evaluate({"extra": extra}) for extra in FOR_TESTS)


def is_newer(version: str, requirement: Requirement) -> bool:
    """True if only upper bounds keep `version` out."""
    violated = [each for each in requirement.specifier if not each.contains(version, prereleases=True)]
    return all(each.operator in ("<", "<=") for each in violated)


def parser() -> Finding:
    if http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy:
        return Finding(Level.OK, "parser", "aiohttp's is compiled")
    if os.environ.get("AIOHTTP_NO_EXTENSIONS"):
        way_out = "unset AIOHTTP_NO_EXTENSIONS"
    else:
        way_out = "write: pip install --force-reinstall --only-binary=:all: aiohttp"
    return Finding(Level.WARN, "parser", f"aiohttp's is not compiled, so that each request costs more; {way_out}")


def event_loop() -> Finding:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError as error:
        reason = " ".join(str(error).split())
        text = f"uvloop cannot be imported ({reason}); write: pip install --force-reinstall uvloop"
        return Finding(Level.FAIL, "loop", text)
    return Finding(Level.OK, "loop", f"uvloop {uvloop.__version__}")


def clock(now_s: float, *, after_s: float) -> Finding:
    """`after_s` is a time that has certainly passed, both in seconds since the epoch."""
    now = timestamp(now_s)
    if now_s < after_s:
        text = f"it says {now}, before this Pegboard was there; tokens and certificates go by it: set it, or run NTP"
        return Finding(Level.FAIL, "clock", text)
    is_kept = is_kept_in_time()
    if is_kept is False:
        text = f"{now}; as far as the kernel knows nothing keeps it in time: run NTP, as with timedatectl set-ntp true"
        return Finding(Level.WARN, "clock", text)
    return Finding(Level.OK, "clock", f"{now}, kept in time" if is_kept else now)


def own_code_written_at() -> float:
    """When the code that runs was written to this disk, in seconds since the epoch."""
    return Path(service.__file__).stat().st_mtime


def is_kept_in_time() -> bool | None:
    """Whether the kernel's clock follows another (NTP, PTP, the host); None where it does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # all zero: change nothing
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != TIME_ERROR)


def open_files(wanted: int) -> Finding:
    """`wanted` is how many this process would like to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = "" if hard == resource.RLIM_INFINITY or hard >= wanted else f", which takes root above {hard:,}"
        text = (
            f"{soft:,} may be open, and {wanted:,} are wanted: ulimit -n {wanted}, or LimitNOFILE= of a unit{allowed}"
        )
        return Finding(Level.WARN, "files", text)
    shown = "any number" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    return Finding(Level.OK, "files", f"{shown} may be open")


def state_folder(folder: Path) -> Finding:
    """Whether the service could write there; who needs it to (an embedded database) fails by itself where it cannot."""
    existing = nearest_existing(folder)
    name = folder if existing == folder else f"{folder} (not there yet)"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Finding(Level.OK, "state_dir", f"{name} can be written")
    except OSError as error:
        text = f'{name} cannot be written ({error.strerror}); make it this user\'s, or name another: state_dir = "..."'
        return Finding(Level.WARN, "state_dir", text)


def disk(folder: Path) -> Finding:
    return free_space(shutil.disk_usage(nearest_existing(folder)).free)


def free_space(free_bytes: int) -> Finding:
    shown = f"{free_bytes / 2**30:,.1f} GiB free" if free_bytes >= DISK_LOW_BYTES else f"{free_bytes // 2**20} MiB free"
    if free_bytes >= DISK_LOW_BYTES:
        return Finding(Level.OK, "disk", f"{shown} where state_dir is")
    level = Level.WARN if free_bytes >= DISK_FULL_BYTES else Level.FAIL
    return Finding(level, "disk", f'{shown} where state_dir is; make room, or move it: state_dir = "..."')


def nearest_existing(folder: Path) -> Path:
    """`folder`, or the closest above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
