"""`verify`: says why the signature of a received request does not fit. The verdict is service.core.diagnosis's."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.client import HERE, SECRET_VARIABLE, Api, Key, Url
from service.cli.terminal import FAILED, USAGE, Json, Stop, say, show

if TYPE_CHECKING:
    from service.cli.sent import Sent
    from service.core.evidence import Diagnosis
    from service.core.request_dump import Dumped

LONGEST = 2 * 1024 * 1024


def verify(
    body: Annotated[
        str | None,
        typer.Argument(
            metavar="[BODY]", help="File with the body as received; - reads it from stdin.", show_default=False
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="Such as 'webhook-id: evt_…'; once for each header.")
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(help="File with the whole request: a line, headers, an empty line, the body.", show_default=False),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            envvar=SECRET_VARIABLE,
            help="whsec_… or whpk_…, the one in use first; better in the variable or a file, where ps cannot see it.",
            show_default=False,
        ),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="File with the secrets, a line each, the one in use first.", show_default=False)
    ] = None,
    delivery: Annotated[
        str | None, typer.Option(help="dlv_…: compare with what was sent, and with what signs now.", show_default=False)
    ] = None,
    event: Annotated[str | None, typer.Option(help="evt_…: compare with its bytes.", show_default=False)] = None,
    computed: Annotated[
        str | None, typer.Option(help="The signature your own code arrived at: says what it did.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="When it was received, such as 2026-11-20T21:10:00Z; by default now.", show_default=False),
    ] = None,
    tolerance: Annotated[int, typer.Option(min=0, max=31_536_000, help="Seconds it may be off the clock.")] = 300,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Say why a signature does not verify, and what to do. Exit 0 when it does, 1 when it does not."""
    from service.core.diagnosis import diagnose
    from service.core.evidence import Evidence
    from service.core.receivers import explain

    received = _received(body, header or [], request)
    sent = _sent(url, key, delivery, event)
    given = _secrets(secret or [], secret_file, prompt=not sent.secrets)
    evidence = Evidence(
        headers=received.headers,
        body=received.body,
        secrets=given or sent.secrets,
        now=_instant(at),
        tolerance_seconds=tolerance,
        endpoint=sent.secrets,
        sent=sent.bodies,
        attempts_at=sent.attempts_at,
    )
    found = diagnose(evidence)
    mistake = explain(evidence, computed) if computed is not None else None
    _tell(found, mistake, received.notes, json)
    if not found.ok or mistake is not None:
        raise typer.Exit(FAILED)


def _sent(url: str, key: str, delivery: str | None, event: str | None) -> Sent:
    """What a running taskrelay says of it, when it is to be asked."""
    from service.cli.sent import Sent, sent_as

    if delivery is None and event is None:
        return Sent()
    with Api(url, key) as api:
        return sent_as(api, delivery=delivery, event=event)


def _tell(found: Diagnosis, mistake: Diagnosis | None, notes: tuple[str, ...], json: bool) -> None:
    told = [one for one in (found, mistake) if one is not None]
    if json:
        first = told[-1] if found.ok else found
        document: dict[str, object] = {"ok": found.ok and mistake is None, "verdict": first.verdict}
        show(
            document
            | {"findings": [{"verdict": one.verdict, "text": one.text, "fix": one.fix} for one in told], "notes": notes}
        )
        return
    for note in notes:
        say(f"note: {note}")
    for one in told:
        say(f"{one.verdict}: {one.text}")
        if one.fix:
            say(f"    {one.fix}")


def _received(body: str | None, headers: list[str], request: str | None) -> Dumped:
    """What was received, from wherever it stands."""
    from service.core.request_dump import BadDump, Dumped, read_header, read_request

    try:
        if request is not None:
            if body is not None:
                raise Stop("give either --request or a body, not both", USAGE)
            dumped = read_request(_read(request))
            return Dumped([*dumped.headers, *map(read_header, headers)], dumped.body, dumped.notes)
        if not headers:
            raise Stop("say which headers came: -H 'webhook-id: …' for each, or --request FILE", USAGE)
        if body is None and sys.stdin.isatty():
            raise Stop("give the body's file, or - to read it from stdin", USAGE)
        return Dumped([read_header(line) for line in headers], _read(body or "-"))
    except BadDump as error:
        raise Stop(str(error), USAGE) from None


def _read(name: str) -> bytes:
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(LONGEST + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(LONGEST + 1)
    except OSError as error:
        raise Stop(f"{name} cannot be read: {error.strerror or error}", USAGE) from None
    if len(raw) > LONGEST:
        raise Stop(f"{name} is larger than 2 MiB, and no event is: is it the right file?", USAGE)
    return raw


def _secrets(given: list[str], file: Path | None, *, prompt: bool) -> list[str]:
    """The receiver's secrets. Asked for when there is nobody else to say them; never shown."""
    if file is not None:
        lines = _read(str(file)).decode("utf-8", "replace").splitlines()
        given = [*given, *(line.strip() for line in lines if line.strip())]
    if given or not prompt:
        return given
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Stop(f"say the secret: {SECRET_VARIABLE}, --secret-file, or --delivery dlv_… to ask taskrelay", USAGE)
    return [getpass.getpass("Secret (whsec_… or whpk_…, not shown): ")]


def _instant(text: str | None) -> int:
    from service.core.times import SECOND, parse_iso

    if text is None:
        return int(time.time() * SECOND)
    if text.isdecimal() and len(text) <= 12:
        return int(text) * SECOND
    found = parse_iso(text) if len(text) <= 64 else None
    if found is None:
        raise Stop("--at is an instant such as 2026-11-20T21:10:00Z, or seconds since 1970", USAGE)
    return found
