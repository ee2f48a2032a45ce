"""`dev`: a sandbox and a taskrelay that stay up for your own requests, until Ctrl-C. Nothing of it outlives the command."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.demo.stage import Child, Stage, StageError, free_port, run_once
from service.cli.dev import page
from service.cli.dev.feed import follow
from service.cli.dev.home import USUAL, Home, HomeError, opened, settings_text
from service.cli.stopping import run
from service.cli.terminal import OK, Json, Stop, say, show, warn

if TYPE_CHECKING:
    import httpx

HERE = "127.0.0.1"
PORT, SANDBOX_PORT = 8080, 8090
SCOPES = "tasks,endpoints,read,admin"
FIRST_REFERENCE = 8841
MOST_LOOKS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says."""

    port: int
    sandbox_port: int
    job_seconds: float
    verbose: bool
    json: bool


def dev(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help=f"[default: {PORT}, or a free one]")] = None,
    sandbox_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"[default: {SANDBOX_PORT}, or a free one]")
    ] = None,
    job_seconds: Annotated[float, typer.Option(min=0, max=3600, help="How long a job takes at the sandbox.")] = 3.0,
    folder: Annotated[Path, typer.Option(help="Where database, key and logs are kept.")] = USUAL,
    fresh: Annotated[bool, typer.Option("--fresh", help="Empty the folder first: no tasks, a new key.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the processes log.")] = False,
    json: Json = False,
) -> None:
    """Run a sandbox and a taskrelay to develop against: no account, nothing is paid. Ends at Ctrl-C."""
    try:
        with opened(folder, fresh=fresh) as home:
            wanted = Wanted(
                port=_port("--port", port, PORT),
                sandbox_port=_port("--sandbox-port", sandbox_port, SANDBOX_PORT),
                job_seconds=job_seconds,
                verbose=verbose,
                json=json,
            )
            ended = run(_run(home, wanted))
    except HomeError as error:
        raise Stop(f"dev: {error}") from None
    except StageError as error:
        raise Stop(f"dev: {error}\n    logs in {folder}; nothing of it is running any more") from None
    if not json:
        say(f"dev: {ended}; everything it started has ended. {folder} is kept")
    raise typer.Exit(OK)


def _port(option: str, wanted: int | None, usual: int) -> int:
    """The port that was asked for, or the usual one, or a free one where that is taken."""
    if _is_free(wanted or usual):
        return wanted or usual
    if wanted is not None:
        raise Stop(f"dev: port {wanted} of {HERE} is taken. Choose another, or leave {option} out to get a free one")
    found = free_port()
    warn(f"dev: port {usual} is taken, so this is on {found}. Choose one with {option}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError:
            return False
    return True


async def _run(home: Home, wanted: Wanted) -> str:
    """Up until somebody says stop; returns who. Raises `StageError` when a process goes away by itself."""
    stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stopped, number)
    if not wanted.json:
        say("\n".join(page.opening()))
    async with Stage(home.folder, _hearing(wanted)) as stage:
        coming = asyncio.create_task(_reached(_come_up(stage, home, wanted)))
        await _first(coming, stopped)
        if not coming.done():
            coming.cancel()
            await asyncio.wait([coming])
            return stopped.result()
        up = coming.result()
        if wanted.json:
            show(up.facts)
        else:
            say("\n".join(page.page(up)))
        await _stay(stage, up, stopped, quiet=wanted.json)
    return stopped.result()


async def _first(*several: asyncio.Future[Any]) -> None:
    await asyncio.wait(several, return_when=asyncio.FIRST_COMPLETED)


def _stop(stopped: asyncio.Future[str], number: signal.Signals) -> None:
    if not stopped.done():
        stopped.set_result("interrupted" if number == signal.SIGINT else f"told to end ({number.name})")


def _hearing(wanted: Wanted) -> Any:
    def hear(name: str, line: bytes) -> None:
        if (text := page.logged(name, line, verbose=wanted.verbose)) is not None:
            warn(text)

    return hear


async def _reached(coming: Coroutine[Any, Any, page.Up]) -> page.Up:
    import httpx

    try:
        return await coming
    except httpx.HTTPError as error:
        raise StageError(
            f"taskrelay came up and did not answer as it should: {error or type(error).__name__}"
        ) from None


async def _come_up(stage: Stage, home: Home, wanted: Wanted) -> page.Up:
    sandbox_url, url = f"http://{HERE}:{wanted.sandbox_port}", f"http://{HERE}:{wanted.port}"
    home.write_settings(settings_text(sandbox_url, wanted.port, wanted.job_seconds))
    played = ["--port", str(wanted.sandbox_port), "--job-seconds", str(wanted.job_seconds), "--json"]
    sandbox, key = await asyncio.gather(stage.start("sandbox", ["sandbox", *played]), _key(home))
    await _play_outputs(sandbox.url)
    serving = await stage.start("taskrelay", ["serve", "--host", HERE, "--port", str(wanted.port), "--json"])
    async with _client(url, key) as client:
        if (await client.get("/v1/whoami")).status_code == 401:  # of a database that is gone
            key = await _new_key(home)
            client.headers["authorization"] = f"Bearer {key}"
        secret = (await client.get("/v1/projects/current/secret")).raise_for_status().json()["secret"]
        reference = await _free_reference(client)
    return page.Up(
        url=url,
        sandbox=sandbox.url,
        key=key,
        secret=secret,
        folder=str(home.folder),
        command=called(),
        reference=reference,
        job_seconds=wanted.job_seconds,
        pids={child.name: child.running.pid for child in (sandbox, serving)},
    )


async def _play_outputs(sandbox: str) -> None:
    """Have the sandbox's links to outputs lead to itself: there a player finds the beginning of a film."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        knobs = {"output_base": f"{sandbox}/_sandbox/outputs"}
        (await client.patch(f"{sandbox}/_sandbox/knobs", json=knobs)).raise_for_status()


async def _key(home: Home) -> str:
    return home.key or await _new_key(home)


async def _new_key(home: Home) -> str:
    made = await run_once(home.folder, ["keys", "create", "--name", "dev", "--scope", SCOPES, "--json"], {})
    key = str(made["key"])
    home.keep_key(key)
    return key


async def _free_reference(client: httpx.AsyncClient) -> str:
    """A reference holds its task for good once that has succeeded, so the next run shows the next one."""
    for number in range(FIRST_REFERENCE, FIRST_REFERENCE + MOST_LOOKS):
        page = await client.get("/v1/tasks", params={"reference": f"order-{number}", "limit": 1})
        if not page.raise_for_status().json()["data"]:
            break
    return f"order-{number}"


async def _stay(stage: Stage, up: page.Up, stopped: asyncio.Future[str], *, quiet: bool) -> None:
    async with AsyncExitStack() as ending:
        client = await ending.enter_async_context(_client(up.url, up.key))

        def tell(event: Mapping[str, Any]) -> None:
            if not quiet:
                say(page.told(event))

        following = asyncio.create_task(follow(client, tell))
        ends = {asyncio.create_task(child.running.wait()): child for child in stage.children}
        try:
            await _first(stopped, following, *ends)
        finally:
            for waiting in (following, *ends):
                waiting.cancel()
            await asyncio.wait([following, *ends])
        if not stopped.done():
            gone = stage.ended()
            raise StageError(_gone(gone) if gone is not None else "nobody reads what it says any more")


def _gone(child: Child) -> str:
    return f"{child.name} went away with code {child.running.returncode}; the rest was ended too"


def _client(url: str, key: str) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=10)


def called() -> str:
    """How this command is called from here, for lines that are to be pasted."""
    script = Path(sys.argv[0])
    if script.name != "taskrelay" or shutil.which("taskrelay") == str(script.absolute()):
        return "taskrelay"
    here = Path.cwd()
    near = script.absolute().is_relative_to(here)
    return shlex.quote(str(script.absolute().relative_to(here) if near else script))
