"""What documents say is said of contracts and models that exist."""

from __future__ import annotations

from service.providers.documented import DOCUMENTED, NOTHING, documented
from service.providers.registry import PROVIDERS


def test_every_entry_is_of_a_contract_and_a_model_that_there_is() -> None:
    for name, model in DOCUMENTED:
        assert name in PROVIDERS and (model is None or model in PROVIDERS[name].models)


def test_what_is_said_of_pushes_agrees_with_what_the_adapter_asks_for() -> None:
    for (name, _), told in DOCUMENTED.items():
        if told.pushes is not None:
            assert (told.pushes[1] > 0) == PROVIDERS[name].traits.callbacks


def test_a_model_of_its_own_form_has_its_own_entry_and_an_unknown_contract_has_nothing() -> None:
    assert documented("ulazai", "kling-2.6").id_at == "data.task_id"
    assert documented("ulazai", "kling-3.0").id_at == "task_id"
    assert documented("cloudsway", "kling-3.0-turbo").echo is True
    assert documented("nimbus", "x") is NOTHING
