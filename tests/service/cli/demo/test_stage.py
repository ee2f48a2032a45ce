from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.cli.demo.stage import ROOT, Stage, StageError, clean_environment, free_port, our_command, run_once
from service.net.server import listen
from tests.service.cli.processes import SECONDS, alive

pytestmark = pytest.mark.slow  # processes, each with its start

SANDBOX = ["sandbox", "--port", "0", "--json"]


async def test_a_process_is_ready_when_it_says_so_and_gone_when_the_stage_is(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        sandbox, subscriber = await asyncio.gather(
            stage.start("sandbox", SANDBOX), stage.start("subscriber", ["subscriber", "--port", "0", "--json"])
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{sandbox.url}/_sandbox/jobs")).status_code == 200
        pids = [sandbox.running.pid, subscriber.running.pid]
        assert alive(pids) == pids and stage.ended() is None
    assert alive(pids) == []
    assert '"ready": "sandbox"' in (tmp_path / "sandbox.log").read_text()


async def test_what_goes_wrong_inside_ends_the_processes_too(tmp_path: Path) -> None:
    pids = []
    with pytest.raises(ZeroDivisionError):
        async with Stage(tmp_path) as stage:
            pids.append((await stage.start("sandbox", SANDBOX)).running.pid)
            raise ZeroDivisionError
    assert pids and alive(pids) == []


async def test_a_process_that_does_not_come_up_is_named_with_its_last_words(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        taken = await stage.start("sandbox", SANDBOX)
        with pytest.raises(StageError, match=r"second did not come up; it said: sandbox: cannot listen"):
            await stage.start("second", ["sandbox", "--port", taken.url.rpartition(":")[2]])


async def test_a_process_that_goes_away_is_noticed(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        sandbox = await stage.start("sandbox", SANDBOX)
        os.kill(sandbox.running.pid, signal.SIGKILL)
        await sandbox.pump
        assert stage.ended() is sandbox


async def test_the_settings_of_a_real_taskrelay_do_not_reach_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKRELAY_DATABASE_URL", "sqlite:////precious/real.db")
    monkeypatch.setenv("Taskrelay_Port", "x")
    assert not [name for name in clean_environment() if name.upper().startswith("TASKRELAY")]
    settings = {"TASKRELAY_ACCOUNTS__ULAZAI__API_KEY": "k"}
    told = await run_once(tmp_path, ["doctor", "--offline", "--json"], settings)
    shown = told["settings"]
    assert isinstance(shown, dict) and shown["database_url"] == "sqlite:///taskrelay.db"


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"taskrelay tasks list failed: .*does not answer"):
        await run_once(tmp_path, ["tasks", "list", "--url", f"http://127.0.0.1:{free_port()}"], {})
    with pytest.raises(StageError, match=r"^taskrelay keys create failed: keys: a key's name is 1 to 128"):
        await run_once(tmp_path, ["keys", "create", "--name", "", "--scope", "tasks", "--json"], {})


def test_a_stranger_in_the_current_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("raise SystemExit('the wrong service')")
    said = subprocess.run(
        our_command("--version"), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert said.stdout.startswith("taskrelay ")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
async def test_a_killed_parent_takes_its_processes_along(tmp_path: Path) -> None:
    script = (
        f"import asyncio, pathlib, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from service.cli.demo.stage import Stage\n"
        "async def main():\n"
        "    async with Stage(pathlib.Path('.')) as stage:\n"
        f"        child = await stage.start('sandbox', {SANDBOX!r})\n"
        "        print(child.running.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(SECONDS):
        pid = int(await parent.stdout.readline())
        assert alive([pid]) == [pid]
        parent.kill()
        await parent.communicate()
        while alive([pid]):  # noqa: ASYNC110 (nobody is told of the end of a grandchild)
            await asyncio.sleep(0.01)


def test_a_port_that_was_given_is_nobody_elses_until_a_process_listens_on_it_and_again_after_it() -> None:
    port = free_port()
    for _ in range(2):  # a service, and the one that takes its place
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))
        with closing(listen("127.0.0.1", port)) as service:
            service.listen()
            with socket.create_connection(("127.0.0.1", port)):
                service.accept()[0].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
