from __future__ import annotations

from pathlib import Path

from service.bootstrap.probing import open_probe
from tests.service.bootstrap.given import ACCOUNT, NEW, settings


async def test_while_no_job_is_known_nothing_is_reported(tmp_path: Path) -> None:
    given = {f"{ACCOUNT}API_KEY": "k", f"{ACCOUNT}ENDPOINT_PATH": "p"}
    async with open_probe(settings(tmp_path, TASKRELAY_SECRET_KEYS=NEW, **given), "cloudsway") as probing:
        assert await probing.report("task_none") == ([], {})
