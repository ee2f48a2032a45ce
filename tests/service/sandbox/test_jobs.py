from __future__ import annotations

from service.sandbox.jobs import Knobs, Phase


def test_no_secret_shows_in_the_repr_of_the_knobs() -> None:
    assert "hush" not in repr(Knobs(api_key="hush", webhook_secret="whsec_hush"))


def test_only_success_and_failure_are_ends() -> None:
    assert [phase for phase in Phase if phase.ended] == [Phase.SUCCEEDED, Phase.FAILED]
