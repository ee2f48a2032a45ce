"""Sizes: what a model makes can be asked for, what it does not make is refused with what it does."""

from __future__ import annotations

import pytest

from service.compat.openai.sizes import ALSO, SIZES, NoSuchSize, size_of, words
from service.core.request import TaskRequest
from service.providers.registry import PROVIDERS

MODELS = [(provider, model) for provider in PROVIDERS.values() for model in provider.models.values()]
KLING_30 = PROVIDERS["ulazai"].models["kling-3.0"]


@pytest.mark.parametrize(("provider", "model"), MODELS, ids=lambda one: one.name)
def test_every_size_is_made_as_asked_or_refused(provider, model) -> None:  # type: ignore[no-untyped-def]
    made = 0
    for size in SIZES:
        try:
            given = words(size, model, "m", ())
        except NoSuchSize as refused:
            assert size not in str(refused).partition(", not ")[0]
            continue
        made += 1
        request = TaskRequest(provider=provider.name, model=model.name, input={"prompt": "x", **given})
        assert size_of(provider.prepare(request).input) == size
    assert made >= 3


@pytest.mark.parametrize("size", ["1x1", "", "720p", 720, None, ["1280x720"], {"a": 1}])
def test_what_is_no_size_is_refused_with_those_there_are(size: object) -> None:
    with pytest.raises(NoSuchSize, match=r"makes 1280x720, .*, not "):
        words(size, KLING_30, "ulazai/kling-3.0", ())


def test_the_larger_sizes_of_openai_are_the_level_above() -> None:
    assert words("1024x1792", KLING_30, "m", ()) == {"quality": "pro", "aspect_ratio": "9:16"}
    assert set(ALSO.values()) <= set(SIZES)


def test_our_own_words_win_and_an_image_decides_the_form() -> None:
    assert words("1280x720", KLING_30, "m", {"mode": "pro"}) == {"aspect_ratio": "16:9"}
    assert words("1280x720", KLING_30, "m", {"aspect_ratio": "1:1"}) == {"quality": "standard"}
    assert words("1280x720", KLING_30, "m", {"image": "u"}) == {"quality": "standard"}
    assert size_of({"quality": "standard"}) is None
