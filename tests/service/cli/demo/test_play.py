from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service.cli.demo.play import Play, bring_up, settings_for
from service.cli.demo.scenes import SCENES
from service.cli.demo.stage import Stage, StageError, run_once
from tests.service.cli.processes import SECONDS


async def test_the_settings_of_the_stage_have_no_fault(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", "http://127.0.0.1:2")
    told = await run_once(tmp_path, ["doctor", "--offline", "--json"], settings)
    assert told["ok"] is True and told["findings"] == []


@pytest.mark.slow
async def test_a_party_that_goes_away_ends_the_wait_with_its_name(tmp_path: Path) -> None:
    stuck = [replace(SCENES[0], orders="stuck")]
    async with Stage(tmp_path) as stage, httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
        play = Play(await bring_up(stage), stage, client)
        await play.submit(stuck)
        os.kill(play.cast.sandbox.running.pid, signal.SIGKILL)
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StageError, match="sandbox went away with code -9"):
                await play.until_told(lambda _: None)


@pytest.mark.slow
async def test_a_refusal_by_the_service_is_told_in_its_own_words(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage, httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
        play = Play(await bring_up(stage), stage, client)
        with pytest.raises(StageError, match=r"/v1/tasks answered 422: .*kling-9"):
            await play.submit([replace(SCENES[0], model="kling-9")])
