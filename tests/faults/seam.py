"""Stands between SQLite and the operating system, by the seam SQLite has for it, and makes chosen writes fail as a real disk does.

    python -m tests.faults.seam CONTROL serve --port 8080

runs the command with the seam in place; `Control` says from outside which write fails, and how. It needs no privilege, no tracer
and no compiler: `sqlite3_vfs.xSetSystemCall` (sqlite.org/c3ref/vfs.html) and, for a sync that fails, seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
OFF, NO_SPACE, KILL, NO_SYNC = range(4)
WORDS = struct.Struct("=QQQQ")  # what happens, from which call on, how many calls there were, how many failed
METHODS = [
    *("open", "delete", "access", "fullpath", "dlopen", "dlerror", "dlsym", "dlclose", "randomness", "sleep"),
    *("current_time", "last_error", "current_time64", "set_call", "get_call", "next_call"),
]


class Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("app", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in METHODS),
    )


WRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_kept: list[object] = []  # what SQLite calls must not be collected


class Control:
    """What the two sides share: a file of four numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(WORDS.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), WORDS.size)

    def read(self) -> tuple[int, int, int, int]:
        what, at, calls, failed = WORDS.unpack_from(self._shared)
        return what, at, calls, failed

    @property
    def calls(self) -> int:
        """Writes that SQLite made so far."""
        return self.read()[2]

    @property
    def failed(self) -> int:
        return self.read()[3]

    def arm(self, what: int, *, after: int = 0) -> None:
        """The call after so many more, and all that follow, fail; KILL and NO_SYNC happen once."""
        struct.pack_into("=Q", self._shared, 8, self.calls + after + 1)
        struct.pack_into("=Q", self._shared, 0, what)

    def heal(self) -> None:
        struct.pack_into("=Q", self._shared, 0, OFF)

    def passing(self) -> int:
        """Count one call; what is to happen to it."""
        what, at, calls, failed = self.read()
        struct.pack_into("=Q", self._shared, 16, calls + 1)
        if what == OFF or calls + 1 < at:
            return OFF
        struct.pack_into("=Q", self._shared, 24, failed + 1)
        return what


def command(control: Path) -> tuple[str, ...]:
    """How the service is started with the seam in place."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.faults.seam import main; main()"
    return (sys.executable, "-c", code, str(control))


def missing() -> str | None:
    """Why the seam cannot be had with this Python, if so."""
    try:
        _vfs()
    except (AttributeError, ImportError, OSError) as error:
        return f"Python's sqlite3 shows no sqlite3_vfs_find ({error})"
    return None


def _vfs() -> Vfs:
    import _sqlite3

    library = ctypes.CDLL(_sqlite3.__file__)  # its symbols and those of the library it was linked to
    find = library.sqlite3_vfs_find
    find.argtypes, find.restype = [ctypes.c_char_p], ctypes.POINTER(Vfs)
    found: Vfs = find(None).contents
    return found


def install(control: Control) -> None:
    """Put ourselves into every write of SQLite in this process."""
    vfs = _vfs()
    get = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Vfs), ctypes.c_char_p)(vfs.get_call)
    set_ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Vfs), ctypes.c_char_p, ctypes.c_void_p)(vfs.set_call)
    wrapped = 0
    for name in (b"pwrite", b"pwrite64"):
        if (address := get(ctypes.byref(vfs), name)) is not None:
            ours = WRITE(_between(WRITE(address), control))
            _kept.append(ours)
            assert set_(ctypes.byref(vfs), name, ctypes.cast(ours, ctypes.c_void_p)) == 0
            wrapped += 1
    if not wrapped:
        raise SystemExit("this SQLite writes with neither pwrite nor pwrite64")


def _between(real: Callable[..., int], control: Control) -> Callable[..., int]:
    def write(file: int, buffer: Any, size: int, offset: int) -> int:
        what = control.passing()
        if what == NO_SPACE:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        if what == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == NO_SYNC:
            control.heal()
            fail_syncs()
        return real(file, buffer, size, offset)

    return write


# Syncs that fail

ARCHITECTURES = {  # the kernel's name of it, and its numbers of fsync, fdatasync and seccomp
    "x86_64": (0xC000003E, 74, 75, 317),
    "aarch64": (0xC00000B7, 82, 83, 277),
}
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # BPF: a word of the call, a jump, the verdict
ALLOW, ERROR = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, ALL_THREADS = 38, 1, 1


class Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def fail_syncs() -> None:
    """From now on fsync and fdatasync of this process answer EIO. There is no way back, as with a real disk."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise SystemExit(f"the numbers of system calls on {machine} are not known here; add them to ARCHITECTURES")
    audit, fsync, fdatasync, seccomp = ARCHITECTURES[machine]
    steps = [
        (LOAD, 0, 0, 4),  # the architecture
        (EQUALS, 0, 3, audit),
        (LOAD, 0, 0, 0),  # the call
        (EQUALS, 2, 0, fsync),
        (EQUALS, 1, 0, fdatasync),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ERROR | errno.EIO),
    ]
    program = Filter(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    refused = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        seccomp, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(program)
    )
    if refused:
        raise SystemExit(f"seccomp: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    """CONTROL, then the command of taskrelay to run."""
    install(Control(Path(sys.argv[1])))
    sys.argv[1:] = sys.argv[2:]
    from service.cli import main as command_line

    command_line()
