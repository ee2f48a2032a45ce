"""One probe from its end backwards: asks the questions that cost nothing, and puts everything heard into evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.core.observation import Reading
from service.net.client import ProviderClient
from service.pipeline.accounts import AccountDesk
from service.pipeline.probe.facts import Evidence
from service.pipeline.probe.heard import Heard
from service.pipeline.probe.questions import ask
from service.pipeline.probe.walk import walked
from service.providers.base import Push
from storage import tasks
from storage.database import Database
from storage.records import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a running probe works with. `read_token`: the submission that a provider's callback token names, or None."""

    account: AccountDesk
    database: Database
    client: ProviderClient
    read_token: Callable[[str, str], str | None]
    heard: Heard

    async def evidence(self, task_id: str) -> Evidence | None:
        """Everything known once the task has ended; None while its provider never told a job's id."""
        task = (await self.database.read(lambda tx: tasks.read(tx, [task_id]))).get(task_id)
        if task is None or task.provider_task_id is None:
            return None
        before = len(self.heard.exchanges)
        answers = await ask(
            self.account, task, self.database, self.client, self.read_token, lambda: len(self.heard.exchanges)
        )
        return Evidence(
            account=self.account,
            task=task,
            exchanges=tuple(self.heard.exchanges),
            pushes=tuple(self.heard.pushes),
            readings=tuple(self._readings(task, before)),
            answers=answers,
            links=tuple(output.url for output in task.outputs),
            ended_at=task.finished_at or self.heard.clock(),
        )

    def _readings(self, task: Task, before: int) -> Iterator[Reading]:
        """What every message about the job said, in order of kind: the purchase, the queries, the pushes."""
        contract, where = self.account.provider, self.account.account
        for exchange in self.heard.exchanges[:before]:
            if exchange.ask.paid:
                reading = walked(contract.submit(where, task, None), exchange.reply)
            else:
                reading = (walked(contract.query(where, [task]), exchange.reply) or {}).get(task.id)
            if reading is not None:
                yield reading
        for pushed in self.heard.pushes:
            yield contract.read(Push(headers=pushed.headers, body=pushed.body))
