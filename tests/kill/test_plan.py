"""A plan is drawn from its seed alone and passes everything."""

from __future__ import annotations

import random
from itertools import pairwise

from service.sandbox.directives import parse
from service.telemetry.failpoints import POINTS
from tests.kill.plan import BEHAVIOUR, KILLS_PER_INSTALLATION, KINDS, OF_PUSHES, behaviour, plans


def test_the_same_seed_is_the_same_plan_and_another_is_not() -> None:
    assert plans(7, 60, list(KINDS)) == plans(7, 60, list(KINDS))
    assert plans(7, 60, list(KINDS)) != plans(8, 60, list(KINDS))


def test_one_kind_alone_is_played_as_among_the_others() -> None:
    together = plans(7, 60, list(KINDS))
    assert plans(7, 60, ["ulazai"]) == [plan for plan in together if plan.kind.name == "ulazai"]


def test_every_kind_gets_its_kills_in_installations_of_bounded_length() -> None:
    found = plans(7, 60, list(KINDS))
    for name in KINDS:
        kills = [kill for plan in found if plan.kind.name == name for kill in plan.kills]
        assert [kill.index for kill in kills] == list(range(60))
    assert max(len(plan.kills) for plan in found) == KILLS_PER_INSTALLATION


def test_half_the_kills_are_at_fail_points_and_250_pass_each_of_a_kind_several_times() -> None:
    for kind in KINDS.values():
        armed = [kill.point for plan in plans(7, 250, [kind.name]) for kill in plan.kills if kill.point]
        assert len(armed) == 125 + armed.count("before_resend") * kind.resends
        assert min(armed.count(point) for point in kind.points) >= 4


def test_before_a_second_purchase_there_is_a_first_one_that_never_left() -> None:
    kills = [kill for plan in plans(7, 250, ["cloudsway"]) for kill in plan.kills]
    before = {earlier.armed for earlier, later in pairwise(kills) if later.point == "before_resend"}
    assert before == {"after_intent:1"}


def test_even_a_hundred_kills_pass_every_point_at_some_kind() -> None:
    assert {kill.point for plan in plans(7, 25, list(KINDS)) for kill in plan.kills if kill.point} == set(POINTS)


def test_every_behaviour_is_one_the_sandbox_knows_and_only_pushing_kinds_misbehave_in_pushes() -> None:
    for _, does in (*BEHAVIOUR, *OF_PUSHES):
        parse(does)
    rng = random.Random(7)
    assert not any("push" in behaviour(KINDS["ulazai"], rng) for _ in range(500))
    assert any("push" in behaviour(KINDS["acedata"], rng) for _ in range(500))
