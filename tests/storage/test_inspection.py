from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from storage import files, inspection, migrate
from storage.errors import StorageError
from tests.storage.conftest import Clock, opened


async def test_a_file_is_made_by_the_first_migration_and_left_alone_by_the_second(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    with pytest.raises(StorageError, match=r"there is no database at .* Make it: taskrelay db migrate"):
        await inspection.inspect(url, clock=clock)
    names = [name for _, name, _ in migrate.migrations()]
    assert await inspection.bring_up(url, clock=clock) == names
    assert await inspection.bring_up(url, clock=clock) == []
    seen = await inspection.inspect(url, clock=clock)
    assert (seen.engine, seen.schema, seen.newest, seen.pending, seen.too_new) == (
        "sqlite", len(names), len(names), (), None,
    )  # fmt: skip
    assert seen.bytes == (tmp_path / "t.db").stat().st_size and seen.holder is None


async def test_who_serves_a_file_and_what_it_lacks_is_seen(tmp_path: Path, clock: Clock) -> None:
    async with opened(f"sqlite:///{tmp_path}/t.db", clock):
        pass
    files.claim(str(tmp_path / "t.db"))
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as raw:
        raw.execute("DELETE FROM migrations WHERE number = 1")
        raw.execute("INSERT INTO migrations (number, name, oldest, applied_at) VALUES (9999, 'later', 9999, 1)")
    seen = await inspection.inspect(f"sqlite:///{tmp_path}/t.db", clock=clock)
    assert seen.holder is not None and seen.pending == ("0001_first",)
    assert seen.too_new is not None and "install the newer release again" in seen.too_new


async def test_what_is_no_database_is_one_line(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "t.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match="cannot be read: file is not a database"):
        await inspection.inspect(f"sqlite:///{tmp_path}/t.db", clock=clock)


@pytest.mark.parametrize("what", [inspection.inspect, inspection.bring_up])
async def test_without_the_driver_it_says_what_to_install(
    what: object, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in ("storage.inspection_postgres", "storage.reaching"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("storage.inspection_postgres", raising=False)

    def missing(*_: object, **__: object) -> object:
        raise ModuleNotFoundError("no", name="asyncpg")

    monkeypatch.setattr("builtins.__import__", _without_asyncpg(__import__))
    with pytest.raises(StorageError, match=r"pip install 'taskrelay\[postgres\]'"):
        await what("postgresql://u@127.0.0.1:1/x", clock=clock)  # type: ignore[operator]


def _without_asyncpg(plain: object) -> object:
    def load(name: str, *more: object) -> object:
        if name.partition(".")[0] == "asyncpg":
            raise ModuleNotFoundError("No module named 'asyncpg'", name="asyncpg")
        return plain(name, *more)  # type: ignore[operator]

    return load
