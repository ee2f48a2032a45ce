"""Adding a provider takes one file, one line of the registry and its samples: shown with one that does not exist."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.bootstrap.accounts import accounts_of
from service.core.request import Invalid
from service.providers.registry import PROVIDERS, everyone
from service.settings import load
from tests.service.providers import builders, test_contract
from tests.service.providers.builders import request, samples
from tests.service.providers.nimbus import SAMPLES, Nimbus


@pytest.fixture
def nimbus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Nimbus:
    """The one line and the samples."""
    made = Nimbus(everyone)
    monkeypatch.setitem(PROVIDERS, "nimbus", made)
    folder = tmp_path / "nimbus"
    folder.mkdir()
    for name, sample in SAMPLES.items():
        (folder / f"{name}.json").write_text(json.dumps(sample), encoding="utf-8")
    monkeypatch.setattr(builders, "SAMPLES", tmp_path)
    return made


def claims() -> list[tuple[str, Callable[..., None]]]:
    """Every test of the contract suite that is made for each provider or each sample."""
    found = inspect.getmembers(test_contract, lambda one: inspect.isfunction(one) and one.__name__.startswith("test_"))
    return [(name, test) for name, test in found if {"name", "sample"} & set(_arguments(test))]


def calls(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """What pytest would call it with for the new provider alone."""
    axes: list[list[dict[str, Any]]] = []
    for name, values in _arguments(test).items():
        if name == "name":
            axes.append([{"name": "nimbus"}])
        elif name == "sample":
            axes.append([{"sample": sample} for sample in samples("nimbus")])
        else:
            axes.append(values)
    for parts in itertools.product(*axes):
        yield {key: value for part in parts for key, value in part.items()}


def _arguments(test: Callable[..., None]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for mark in getattr(test, "pytestmark", []):
        names = [name.strip() for name in mark.args[0].split(",")]
        rows = [value if len(names) > 1 else (value,) for value in mark.args[1]]
        found[mark.args[0]] = [dict(zip(names, row, strict=True)) for row in rows]
    return found


@pytest.mark.parametrize(("name", "test"), claims(), ids=[name for name, _ in claims()])
def test_the_new_provider_passes_every_test_of_the_suite(nimbus: Nimbus, name: str, test: Callable[..., None]) -> None:
    for arguments in calls(test):
        test(**arguments)


def test_the_suite_is_not_empty_and_fails_without_samples(nimbus: Nimbus, tmp_path: Path) -> None:
    assert len(claims()) >= 20
    (tmp_path / "nimbus" / "garbage.json").unlink()
    with pytest.raises(AssertionError):
        test_contract.test_every_provider_has_the_samples_that_a_contract_needs("nimbus")


def test_the_other_contracts_know_of_it_without_being_told(nimbus: Nimbus) -> None:
    with pytest.raises(Invalid, match="cumulus-1 is nimbus's"):
        PROVIDERS["ulazai"].prepare(request("ulazai", {"prompt": "A."}, model="cumulus-1"))
    with pytest.raises(Invalid, match=r"nimbus/cumulus-1 has no mode\. acedata/kling-v3"):
        nimbus.prepare(request("nimbus", {"prompt": "A.", "mode": "std"}))


def test_an_account_of_it_can_be_configured_and_asked(nimbus: Nimbus) -> None:
    settings = load({"TASKRELAY_ACCOUNTS__NIMBUS__API_KEY": "k" * 20})
    desk = accounts_of(settings)["nimbus"]
    assert (desk.provider, desk.look_up, desk.pushes) == (nimbus, False, False)
    assert desk.channel.base_url == "https://api.nimbus.example"
