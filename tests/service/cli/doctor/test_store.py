"""The database as `doctor` opens it: who serves it is told, and looking makes no lock."""

from __future__ import annotations

from pathlib import Path

from storage import files, migrate
from tests.service.cli.doctor.scene import Place


def test_who_serves_the_database_is_told_without_making_a_lock(place: Place, tmp_path: Path) -> None:
    place.start()
    assert ("database", "nobody serves it now") in [one[:2] for one in place.doctor().of("fine")]
    assert not (tmp_path / "taskrelay.db.lock").exists()
    files.claim(str(tmp_path / "taskrelay.db"))
    told = place.doctor()
    assert any(text.startswith("served by process ") for _, text, _ in told.of("fine")) and told.code == 0


def test_postgresql_without_keys_is_told_once_with_its_line(place: Place) -> None:
    place.settings["TASKRELAY_DATABASE_URL"] = "postgresql://taskrelay:very-secret@127.0.0.1:1/x"
    del place.settings["TASKRELAY_SECRET_KEYS"]
    told = place.doctor()
    assert told.code == 1 and "very-secret" not in told.text
    assert any(str(fix).startswith('TASKRELAY_SECRET_KEYS="$(openssl') for _, _, fix in told.wrong)


def test_a_database_of_an_older_release_is_told_and_left_as_it_is(place: Place, tmp_path: Path) -> None:
    place.start()
    place.plant("UPDATE migrations SET number = 0")
    told = place.doctor()
    assert told.code == 0
    assert any("0001_first is still to be applied" in text for _, text, _ in told.of("note"))
    assert migrate.behind(str(tmp_path / "taskrelay.db")) == ["0001_first"]
