"""Where a listener stands in the feed, in a file that outlives it: written whole or not at all, and by one listener at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from service.cli.terminal import Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`after`: what was dealt with last. `at`: when that was known, seconds since the epoch. `secret`: what this listener signs with."""

    after: str | None = None
    at: float = 0.0
    secret: str | None = None


class Bookmark:
    """The file. Use it as a context: nobody else may use it meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Bookmark:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise Stop(
                f"another listener keeps its place in {self.path}. Give this one its own: --state FILE"
            ) from None
        except OSError as error:
            raise Stop(_cannot(self.path, error)) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlock()

    def read(self) -> Place:
        """What was kept; of a file that is not there, nothing. Raises `Stop` for one that cannot be read: to guess would skip events."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            return Place(after=_text(kept["after"]), at=float(kept["at"]), secret=_text(kept["secret"]))
        except FileNotFoundError:
            return Place()
        except OSError as error:
            raise Stop(_cannot(self.path, error)) from None
        except (ValueError, TypeError, KeyError):
            raise Stop(
                f"{self.path} holds no place in a feed. Remove it to begin now, or name another file: --state"
            ) from None

    def write(self, place: Place) -> None:
        fresh = Path(f"{self.path}.new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                json.dump(asdict(place), file)
            fresh.replace(self.path)
        except OSError as error:
            raise Stop(_cannot(self.path, error)) from None

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def usual(server: str, project: str) -> Path:
    """Where the place in a project's feed is kept unless told otherwise. Raises `Stop` where nothing says where."""
    from service.settings import environment

    try:
        folder = Path(environment().get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:  # a number without a name, as containers give
        raise Stop("this user has no home to keep its place in the feed in. Name a file: --state FILE") from None
    name = hashlib.sha256(f"{server.rstrip('/')} {project}".encode()).hexdigest()[:16]
    return folder / "taskrelay" / f"listen-{name}.json"


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("a text is wanted")
    return value


def _cannot(path: Path, error: OSError) -> str:
    return f"{path} cannot be used: {(error.strerror or str(error)).lower()}. Name another file: --state"
