"""Every scenario by the name of its file."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType

from service.pipeline.replay import differences
from storage import history
from storage.records import Task
from tests.histories import buying, ending, pushing, settling
from tests.histories.bench import KEY, Bench, open_bench
from tests.histories.text import Text, written

Scenario = Callable[[Bench], Awaitable[Task]]
FOLDER = Path(__file__).parent / "recorded"


def scenarios() -> Mapping[str, Scenario]:
    """What the four modules tell: every function of theirs that takes the bench alone."""
    return {
        f"{prefix}-{name.replace('_', '-')}": told
        for prefix, module in (("buy", buying), ("settle", settling), ("push", pushing), ("end", ending))
        for name, told in _told(module)
    }


def _told(module: ModuleType) -> list[tuple[str, Scenario]]:
    return [
        (name, one)
        for name, one in vars(module).items()
        if inspect.iscoroutinefunction(one) and one.__module__ == module.__name__ and inspect.getdoc(one)
    ]


async def recorded(name: str, folder: Path) -> Text:
    """Let a scenario happen, and write down what is stored of its task. What is stored must agree with itself."""
    scenario = scenarios()[name]
    async with open_bench(folder) as bench:
        task = await scenario(bench)
        await bench.recorder.drain()
        lives = await bench.database.read(lambda tx: history.page(tx, after="", batch=100))
        [life] = [one for one in lives if one.task.id == task.id]
        found = list(differences(life, KEY))
        assert not found, "\n".join(map(str, found))
        shows = (inspect.getdoc(scenario) or "").partition("\n")[0]
        return written(name, shows, life, [one for one in bench.advanced if one.task.id == task.id])
