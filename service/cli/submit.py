"""`submit`: create one task over the API, and wait for its end when told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import dumps
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import named
from service.cli.task_lines import state, task_lines
from service.cli.terminal import FAILED, INTERRUPTED, OK, USAGE, Json, Stop, console, say, show, warn

ENDS = frozenset({"succeeded", "failed", "canceled", "expired"})
HOLD_SECONDS = 20  # the longest a question is held open; every change is told at once

Text = Annotated[str | None, typer.Option(show_default=False)]
Many = Annotated[list[str] | None, typer.Option(show_default=False)]


def submit(
    prompt: Annotated[str, typer.Argument(help="What to make.", show_default=False)],
    model: Annotated[str, typer.Option("--model", "-m", help="The provider's model.", show_default=False)],
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="Whose contract.", show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="A configured account, in place of --provider.", show_default=False)
    ] = None,
    duration: Annotated[int | None, typer.Option(help="Seconds.", show_default=False)] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="Such as 16:9.", show_default=False)] = None,
    quality: Annotated[str | None, typer.Option(help="standard or pro.", show_default=False)] = None,
    sound: Annotated[bool | None, typer.Option("--sound/--no-sound", show_default=False)] = None,
    image: Annotated[str | None, typer.Option(help="URL of the first frame.", show_default=False)] = None,
    reference: Annotated[
        str | None, typer.Option(help="Your own id; a second task with it is refused.", show_default=False)
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For your own use; as often as needed.", show_default=False),
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where this task's end is sent.", show_default=False)] = None,
    deadline: Annotated[int | None, typer.Option(help="Seconds until it is given up.", show_default=False)] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER/MODEL", help="Who is asked next if this one refuses; repeatable.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent and cost. Nothing is stored or bought.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it ends; exit 1 unless it succeeded.")] = False,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Submit a task. It is bought once, whatever happens to this command."""
    if wait and dry_run:
        raise Stop("--wait: a dry run creates nothing to wait for; leave one of them out", USAGE)
    wanted = {
        "prompt": prompt,
        "duration": duration,
        "aspect_ratio": aspect_ratio,
        "quality": quality,
        "sound": sound,
        "image": image,
    }
    body = {
        "provider": provider,
        "account": account,
        "model": model,
        "input": _said(wanted),
        "metadata": named(metadata) or None,
        "reference": reference,
        "webhook_url": webhook_url,
        "deadline_seconds": deadline,
        "fallbacks": [_alternative(one) for one in fallback or []] or None,
    }
    with Api(url, key) as api:
        if dry_run:
            bids = api.post("/v1/tasks", _said(body), {"dry_run": "true"})
            _tell(bids, bid_lines, json)
            return
        task = api.create("/v1/tasks", _said(body))
        if wait:
            task = _until_ended(api, task, quiet=json)
    _tell(task, task_lines, json)
    raise typer.Exit(OK if not wait or task["status"] == "succeeded" else FAILED)


def _tell(found: dict[str, Any], lines: Callable[[dict[str, Any]], list[str]], json: bool) -> None:
    if json:
        show(found)
    else:
        say("\n".join(lines(found)))


def bid_lines(bids: dict[str, Any]) -> list[str]:
    """What each of those who may be asked would get and cost, in order."""
    lines = []
    for bid in (bids, *bids["fallbacks"]):
        request, cost = bid["request"], bid["cost"]
        price = "cost unknown" if cost["estimated"] is None else f"estimated at {cost['estimated']} {cost['unit']}"
        if (money := cost["money"]) and money["estimated"] is not None:
            price += f", {money['estimated']} {money['currency']}"
        lines.append(f"{bid['account']}  {bid['provider']}/{bid['model']}  {price}")
        if request is None:
            lines.append(f"  cannot be sent: {bid['cannot_be_sent']}")
            continue
        lines.append(f"  {request['method']} {request['url']}")
        lines += [f"  {name}: {value}" for name, value in request["headers"].items()]
        lines.append(f"  {dumps(request['body'], ensure_ascii=False)}")
    return [*lines, "Nothing was stored, sent or bought."]


def _alternative(given: str) -> dict[str, str]:
    """`provider/model` as the API takes it. Raises `Stop`."""
    provider, _, model = given.partition("/")
    if not provider or not model:
        raise Stop(f"--fallback {given!r}: write PROVIDER/MODEL, such as ulazai/kling-3.0", USAGE)
    return {"provider": provider, "model": model}


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _until_ended(api: Api, task: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Follow the task until it ends."""
    try:
        with _silence() if quiet else _progress(task) as tell:
            tag = None
            while task["status"] not in ENDS:
                seen, tag = api.follow(f"/v1/tasks/{task['id']}", tag, HOLD_SECONDS if tag else 0)
                task = seen or task
                tell(task)
    except KeyboardInterrupt:
        raise Stop(
            f"{task['id']} goes on without you. Look again with: taskrelay tasks get {task['id']}", INTERRUPTED
        ) from None
    return task


@contextmanager
def _silence() -> Iterator[Callable[[dict[str, Any]], None]]:
    yield lambda _: None


@contextmanager
def _progress(task: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar on a terminal, otherwise a line for every change."""
    screen = console(stderr=True)
    if screen.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        looks = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*looks, console=screen, transient=True) as progress:
            bar = progress.add_task(state(task), total=None)
            yield lambda seen: progress.update(bar, description=state(seen), **_filled(seen))
        return
    began = time.monotonic()
    told: list[str] = []

    def tell(seen: dict[str, Any]) -> None:
        if not told or told[-1] != state(seen):
            told.append(state(seen))
            warn(f"{time.monotonic() - began:6.1f} s  {seen['id']}  {told[-1]}")

    tell(task)
    yield tell


def _filled(task: dict[str, Any]) -> dict[str, Any]:
    return {} if task.get("progress") is None else {"total": 100, "completed": task["progress"]}
