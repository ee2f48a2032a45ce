"""`serve`: one replica in the foreground, from opening the database to giving the lanes back."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.client import CLIENT_VARIABLES
from service.cli.hearing import unheard
from service.cli.opening import cannot, environment, settings_of
from service.cli.stopping import run
from service.cli.terminal import Json, Stop, warn
from service.telemetry import traces
from service.telemetry.outlet import say_at_once

if TYPE_CHECKING:
    from service.bootstrap.parts import Service
    from service.settings import Settings

log = logging.getLogger("taskrelay.serve")

Option = typer.Option
MAKE_ADMIN = "taskrelay keys create --name admin --scope admin"
TAKE_IT = "take the key where it belongs and delete the file"
END_SECONDS = 29.0


def serve(
    host: Annotated[str | None, Option(help="Address to listen on.  [TASKRELAY_HOST]", show_default=False)] = None,
    port: Annotated[
        int | None, Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.", show_default=False)
    ] = None,
    roles: Annotated[
        str | None, Option(help="What this replica does: api, work or api,work.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is in flight and give the lanes back.

    Everything else is set by TASKRELAY_* or taskrelay.toml; `taskrelay doctor` shows what is in force.
    """
    import uvloop

    from service.runtime import raise_file_limit
    from service.telemetry.log import configure

    settings = settings_of("serve", {"HOST": host, "PORT": port, "ROLES": roles})
    raise_file_limit()
    human = not json and sys.stderr.isatty()
    configure(settings.log_level, json=not human)
    try:
        _send_traces(settings)
        run(_serve(settings, human), loop_factory=uvloop.new_event_loop)
    finally:
        traces.stop()


def _send_traces(settings: Settings) -> None:
    given = environment()
    if traces.wanted(settings.traces.endpoint, given):
        try:
            traces.start(settings.traces.endpoint, given)
        except traces.NoExtra as error:
            raise Stop(f"serve: {error}, or unset TASKRELAY_TRACES__ENDPOINT and OTEL_EXPORTER_OTLP_*") from None


async def _serve(settings: Settings, human: bool) -> None:
    from service.bootstrap.keys import secret_file

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A second one changes nothing: what is in flight is paid for, and all of it ends within the time supervisors grant.
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    listener = _listen(settings)  # of a replica that only works: for its health
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    secrets = None if settings.secret_keys else secret_file(settings)
    made = secrets if secrets is not None and not secrets.exists() else None
    async with AsyncExitStack() as stack:
        service = await _opened(stack, settings)
        if made is not None:
            _say(human, f"made {made} (0600). Without it nothing sealed in the database can be read: back up both")
        if "api" in settings.roles:
            await _first_key(service, human)
        await _run(service, listener, stopping, human)


async def _first_key(service: Service, human: bool) -> None:
    """On an empty database: who may make keys. The key never gets into a log; a file of its owner's alone holds it instead."""
    from service.bootstrap.first_start import admin_key_file, first_start
    from storage.errors import StorageError

    left = admin_key_file(service.settings)
    lying = left is not None and left.exists()
    try:
        made = await first_start(service.settings, service.database, service.keyring, shown=human)
    except (OSError, StorageError) as error:
        why = f"{left} cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
        _say(human, f"no first key was made, because {why}", MAKE_ADMIN)
        return
    if made is not None and made.key is not None:
        warn(f"serve: first start. This key may do everything and is shown once:\n    {made.key}")
        warn("    To use it: export TASKRELAY_KEY=…   To make others: taskrelay keys create")
    elif made is not None:
        _say(human, f"first start: {made.file} (0600) holds a key that may do everything", TAKE_IT)
    elif lying:
        _say(human, f"{left} still holds the key of the first start", TAKE_IT)


async def _opened(stack: AsyncExitStack, settings: Settings) -> Service:
    from service.bootstrap.errors import StartError
    from service.bootstrap.opening import open_service
    from storage.errors import StorageError

    try:
        return await stack.enter_async_context(open_service(settings))
    except (StartError, StorageError, ValueError, OSError) as error:
        raise Stop(cannot("serve", error)) from None


def _listen(settings: Settings) -> socket.socket:
    from service.bootstrap.door import bind

    try:
        return bind(settings)
    except OSError as error:
        raise Stop(
            f"serve: cannot listen on {settings.host}:{settings.port}: {(error.strerror or str(error)).lower()}. "
            "Choose another: --host, --port (0 takes a free one)"
        ) from None


async def _run(service: Service, listener: socket.socket, stopping: asyncio.Event, human: bool) -> None:
    """Do what the roles say until told to stop. What fails for good stops the rest in order."""
    from service import runtime
    from service.bootstrap.door import server_of
    from service.telemetry import failpoints

    server = server_of(service)
    duties = [asyncio.create_task(server.serve(sockets=[listener]))]
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([ready, *duties], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    duties.append(asyncio.create_task(runtime.run(service.loops, service.endless, stopping)))
    runtime.ease_collector()
    for duty in duties:
        duty.add_done_callback(lambda _: stopping.set())
    if not any(duty.done() for duty in duties):
        await _announce(service, human)
    await stopping.wait()
    _end_in_time()
    failpoints.reach("at_stop")
    _say(human, "stopping: what is in flight is finished first")
    service.watch.close()  # requests that wait for a change are answered with what is true now
    server.should_exit = True
    # Side by side: an open request may wait for a lane's work, and both end by themselves within 25 seconds.
    await asyncio.gather(*duties, service.lanes.stop())


def _end_in_time() -> None:
    """Should anything hold us past the time that supervisors grant, end before they kill: it is as safe, and says so."""

    def cut() -> None:
        text = f"taskrelay: stopping took {END_SECONDS:g} seconds; ended as it was. Nothing stored is lost\n"
        say_at_once(sys.stderr, text)
        os._exit(1)

    timer = threading.Timer(END_SECONDS, cut)
    timer.daemon = True
    timer.start()


async def _announce(service: Service, human: bool) -> None:
    """The ready line, then everything an operator should know."""
    from storage import api_keys

    facts = ready_facts(service)
    if human:
        callbacks = ", ".join(f"{name} {mode}" for name, mode in service_callbacks(service).items()) or "no account"
        only = "" if "api" in service.settings.roles else " (health only)"
        warn(
            f"serve: {facts['url']}{only}   {facts['database']}, {facts['durability']}   callbacks: {callbacks}   pid {facts['pid']}"
        )
    else:
        log.info("ready", extra=facts)
    for text, fix in _notices(service.settings):
        _say(human, text, fix)
    if service.accounts and (silent := await unheard(service.database, service.ports.clock())) is not None:
        _say(human, *silent)
    if not await service.database.read(api_keys.count):
        _say(
            human,
            "there is no API key yet",
            MAKE_ADMIN,
        )


def ready_facts(service: Service) -> dict[str, object]:
    """What a program that started us wants to know."""
    from service.settings import masked

    settings = service.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    sqlite = settings.database_url.startswith("sqlite:")
    return {
        "url": f"http://{host}:{settings.port}",
        "pid": os.getpid(),
        "roles": sorted(settings.roles),
        "database": masked(settings)["database_url"],
        "durability": "synchronous=FULL" if sqlite else "synchronous_commit=on",
        "callbacks": service_callbacks(service),
    }


def service_callbacks(service: Service) -> Mapping[str, str]:
    """How each account learns of an end: by which kind of push, or by polling alone."""
    return {name: str(desk.callbacks) if desk.pushes else "polled" for name, desk in service.accounts.items()}


def _notices(settings: Settings) -> Iterator[tuple[str, str]]:
    from service.bootstrap.accounts import pushing_providers
    from service.settings import problems

    for problem in problems(settings, environment(), pushing=pushing_providers(), clients=CLIENT_VARIABLES):
        if "SECRET_KEYS" not in problem.text:  # said when the file is made, and by `doctor`
            yield problem.text, problem.fix


def _say(human: bool, text: str, fix: str | None = None) -> None:
    if human:
        warn(f"serve: {text}" + (f"\n    {fix}" if fix else ""))
    else:
        log.warning(text, extra={"fix": fix} if fix else None)
