from __future__ import annotations

from pathlib import Path

from service.bootstrap.opening import open_service
from tests.service.bootstrap.given import ACCOUNT, NEW, settings


async def test_an_account_keeps_one_rate_in_a_process_whoever_asks_for_it(tmp_path: Path) -> None:
    given = {f"{ACCOUNT}API_KEY": "k", f"{ACCOUNT}ENDPOINT_PATH": "p", f"{ACCOUNT}RATE": "5/s"}
    async with open_service(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW, **given)) as service:
        assert service.bucket("cloudsway") is service.bucket("cloudsway")
        assert list(service.accounts) == ["cloudsway"] and service.wakeups.alone
