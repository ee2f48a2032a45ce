"""What was said: settings that cannot be used, and those that can but will not work as meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.cli.doctor.finding import Finding, note, wrong

if TYPE_CHECKING:
    from service.settings import Gathered, Problem

ABOUT = "settings"


def judge(given: Gathered, environ: Mapping[str, str]) -> list[Finding]:
    """Every mistake once: what had to be left out is not told again as missing."""
    told = list(given.problems)
    mended = {_variable(problem) for problem in told}
    told += [problem for problem in _further(given, environ) if _variable(problem) not in mended]
    return [(note if problem.note else wrong)(ABOUT, problem.text, problem.fix) for problem in told]


def _further(given: Gathered, environ: Mapping[str, str]) -> list[Problem]:
    from service.bootstrap.accounts import provider_names, pushing_providers
    from service.settings import Problem, problems, shape

    if given.settings is not None:
        return problems(given.settings, environ, providers=provider_names(), pushing=pushing_providers())
    return [
        Problem(
            f"{name} is no setting of taskrelay, so it has no effect",
            f"rename it to {near}" if near else f"unset {name}",
        )
        for name, near in shape.unknown(list(environ))
    ]


def _variable(problem: Problem) -> str:
    """What its line sets; a line that sets nothing stands for itself."""
    return problem.fix.partition("=")[0]
