from __future__ import annotations

from service.cli.doctor.said import judge
from service.settings import gather


def fixes(environ: dict[str, str]) -> list[str | None]:
    return [one.fix for one in judge(gather(environ), environ)]


def test_what_could_not_be_used_is_not_told_again_as_missing() -> None:
    environ = {
        "TASKRELAY_PUBLIC_URL": "ftp://x",
        "TASKRELAY_SECRET_KEYS": "short",
        "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k",
    }
    assert [str(fix).partition("=")[0] for fix in fixes(environ)] == ["TASKRELAY_PUBLIC_URL", "TASKRELAY_SECRET_KEYS"]


def test_misspelt_names_are_told_beside_values_that_cannot_be_read() -> None:
    found = fixes({"TASKRELAY_PORT": "x", "TASKRELAY_HOSTS": "y", "TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k"})
    assert found[:2] == ["TASKRELAY_PORT=8080", "rename it to TASKRELAY_HOST"]
