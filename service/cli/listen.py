"""`listen`: hand every event to a receiver that has no public address, and take up again where it stopped."""

from __future__ import annotations

import re
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.bookmark import Bookmark, Place, usual
from service.cli.client import HERE, SECRET_VARIABLE, Api, Key, Url
from service.cli.telling import facts, line, notes, span, told
from service.cli.terminal import USAGE, Json, Stop, say

if TYPE_CHECKING:
    from service.cli.feed import Happened
    from service.cli.forward import Forwarded, Forwarder

Since = Annotated[
    str | None,
    typer.Option(
        help="Begin there: now, an age such as 2h or 3d, or an instant 2026-11-20T21:10:00Z.", show_default=False
    ),
]
Types = Annotated[
    str | None,
    typer.Option("--events", help="Types, separated by commas: task.failed,endpoint.*", show_default=False),
]

AGE = re.compile(r"([0-9]{1,9})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def listen(
    forward_to: Annotated[str, typer.Option("--forward-to", metavar="URL", help="Your receiver.", show_default=False)],
    events: Types = None,
    since: Since = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar=SECRET_VARIABLE,
            help="What signs: whsec_…, project, or an endpoint's id; else one of its own.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="The file that keeps its place in the feed.", show_default=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Forward events to a receiver without a public address, signed as deliveries are, until Ctrl-C.

    It takes up again where it stopped, and says what was missed meanwhile.
    """
    from service.cli.forward import Forwarder

    begin = moment(since)
    with Api(url, key) as api:
        project = api.get("/v1/whoami")["project"]["id"]
        with Bookmark(state or usual(url, project)) as bookmark:
            place = bookmark.read()
            signing = _secret(api, secret) or place.secret or _made()
            made = secret is None and signing != place.secret
            place = replace(place, secret=place.secret if secret else signing)
            with Forwarder(forward_to, signing, note=notes(json)) as forwarder:
                turn = Listener(api=api, bookmark=bookmark, place=place, forwarder=forwarder, json=json)
                turn.run(lambda: _begin(turn, events, begin, since), project, signing if made else None)


@dataclass(slots=True, kw_only=True)
class Listener:
    """One run: what it uses, and what it has done."""

    api: Api
    bookmark: Bookmark
    place: Place
    forwarder: Forwarder
    json: bool
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def run(self, begin: Callable[[], Mapping[str, str | None]], project: str, made: str | None) -> None:
        """Forward until Ctrl-C or SIGTERM, which is how it is meant to end."""
        from service.cli.feed import Feed

        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            _open(self, project, made)
            wanted = begin()
            feed = Feed(self.api, wanted=wanted, after=self.place.after, note=notes(self.json))
            for event in feed:
                if event is not None:
                    self._forward(event)
                else:
                    self.keep(feed.after)
        except KeyboardInterrupt:
            self._sum_up()

    def keep(self, after: str | None) -> None:
        """Remember what was dealt with, and that all was well until now."""
        self.place = replace(self.place, after=after, at=time.time())
        self.bookmark.write(self.place)

    def _forward(self, event: Happened) -> None:
        outcome = self.forwarder.send(event)
        self.keep(event.id)
        self.done += 1
        if outcome.why is not None:
            self.failed.append(event.id)
        if self.json:
            line({**facts(event), "forwarded": asdict(outcome)})
        else:
            say(f"{told(event)}  {_said(outcome)}")

    def _sum_up(self) -> None:
        taken = self.done - len(self.failed)
        if self.json:
            line({"ended": "listen", "events": self.done, "taken": taken, "not_taken": self.failed})
            return
        say(f"{taken} of {self.done} events were taken. The same command goes on from here.")
        for event_id in self.failed[-20:]:
            say(f"  not taken  {event_id}   taskrelay events get {event_id}")


def _open(turn: Listener, project: str, made: str | None) -> None:
    """What a person, or a program, has to know first. A secret that was made is said once; the state file keeps it."""
    path, target = str(turn.bookmark.path), turn.forwarder.url
    if turn.json:
        line({"ready": "listen", "project": project, "forward_to": target, "state": path, "secret": made})
        return
    say(f"listening to {project}, forwarding to {target}")
    if made:
        say(f"  secret     {made}")
        say("             What is forwarded is signed with it; it is kept in the state file and not shown again.")
    say(f"  state      {path}")


def _begin(turn: Listener, types: str | None, begin: str | None, since: str | None) -> dict[str, str | None]:
    """Decide where to begin, say so, and return what is wanted."""
    from service.cli.feed import LIST, missed

    note, wanted = notes(turn.json), {"type": types}
    if begin is not None:
        turn.place = replace(turn.place, after=None)
        note(f"beginning with what happened since {begin}")
        return {**wanted, "created_after": begin}
    if since is not None or turn.place.after is None:
        turn.keep(turn.api.get(LIST, {"order": "desc", "limit": 1})["next"])
        note("beginning now; --since 1h begins earlier")
        return wanted
    away = max(time.time() - turn.place.at, 0.0)
    try:
        count, more = missed(turn.api, wanted, turn.place.after)
    except Stop as stop:
        hint = f"{stop.text}\n    Its place is kept in {turn.bookmark.path}. To begin anew: --since 1h, or --since now"
        raise Stop(hint, stop.code, stop.facts) from None
    events = "1 event" if count == 1 else f"{'more than ' if more else ''}{count} events"
    tail = f": {events} missed meanwhile, forwarding them" if count else ", nothing was missed"
    note(f"resumed after {span(away)}{tail}")
    return wanted


def moment(since: str | None) -> str | None:
    """The instant that `--since` means, None for now."""
    if since is None or since == "now":
        return None
    if age := AGE.fullmatch(since):
        try:
            at = datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])})
        except OverflowError:
            at = datetime(1970, 1, 1, tzinfo=UTC)
        return f"{max(at, datetime(1970, 1, 1, tzinfo=UTC)).replace(tzinfo=None).isoformat()}Z"
    try:
        stated = datetime.fromisoformat(since)
    except ValueError:
        stated = None
    if stated is None or stated.tzinfo is None:
        raise Stop(f"--since: {since!r} is neither now, an age such as 2h, nor an instant 2026-11-20T21:10:00Z", USAGE)
    return since


def _said(outcome: Forwarded) -> str:
    tries = f" at try {outcome.tries}" if outcome.tries > 1 else ""
    if outcome.why is None:
        return f"{outcome.status} in {outcome.milliseconds} ms{tries}"
    return f"NOT TAKEN after {outcome.tries} tries: {outcome.why}"


def _made() -> str:
    from service.core.signature import SECRET_BYTES, new_secret

    return new_secret(secrets.token_bytes(SECRET_BYTES))


def _secret(api: Api, stated: str | None) -> str | None:
    """The secret that `--secret` means: itself, the project's, or an endpoint's."""
    if stated == "project":
        return str(api.get("/v1/projects/current/secret")["secret"])
    if stated is not None and re.fullmatch(r"ep_[0-9A-Z]{26}", stated):
        return str(api.get(f"/v1/endpoints/{stated}/secret")["secret"])
    return stated
