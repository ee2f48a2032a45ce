"""The one list of providers."""

from __future__ import annotations

from service.core.request import Input
from service.providers.registry import PROVIDERS, everyone


def test_each_provider_stands_under_its_own_name() -> None:
    assert {name: contract.name for name, contract in PROVIDERS.items()} == {name: name for name in PROVIDERS}


def test_models_stand_under_their_own_names_and_take_only_known_words() -> None:
    for contract in everyone().values():
        for name, model in contract.models.items():
            assert model.name == name
            assert model.inputs <= set(Input.__annotations__)


def test_no_native_option_shadows_a_common_word_or_a_field_that_is_ours() -> None:
    ours = {"callback_url", "external_task_id", "prompt_directory_optin", "task_id", "price"}
    for contract in PROVIDERS.values():
        for model in contract.models.values():
            assert not model.options & (ours | model.inputs)
