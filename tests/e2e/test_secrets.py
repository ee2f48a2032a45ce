"""Forty secrets, all of them used, in an installation that is led through errors of every kind at the level `debug`: looked for in the
log, in refusals, in the metrics, in what `doctor` and refused starts print, and in every column and file of the database."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.core.keys import Keyring
from service.pipeline.orders import SIGNING_KEY
from service.sandbox.jobs import Knobs
from service.sandbox.subscriber import Answers
from tests.e2e.stack import Stack, installation

pytestmark = [pytest.mark.slow, pytest.mark.sqlite("the files of the database are read"), pytest.mark.timeout(600)]

# A route that crashes with what a careless library would quote: the last net must hold.
CRASHES = (
    "import service.api.usage as usage\n"
    "async def crash(call):\n"
    "    said = dict(call.request.headers)\n"
    '    raise RuntimeError(f\'careless: {said} GET https://u:{call.request.query_params["p"]}@host/x?sig={call.request.query_params["p"]}\')\n'
    "usage.page.__code__ = crash.__code__\n"
    "from service.cli import main; main()"
)


@dataclass(slots=True)
class Plant:
    """One secret. `stored`: the database holds it as it is, because it is what a task or a delivery is made of."""

    name: str
    text: str
    stored: bool = False
    used: bool = False

    def forms(self) -> Iterator[bytes]:
        """How it might be written."""
        core = self.text.removeprefix("whsec_").removeprefix("whsk_").removeprefix("trk_").removeprefix("base64:")
        raw = core.encode()
        yield raw
        yield base64.b64encode(raw).rstrip(b"=")[:-2]
        yield raw.hex().encode()
        if self.text.startswith(("whsec_", "whsk_")):
            yield base64.b64decode(core + "=" * (-len(core) % 4))


@dataclass(slots=True)
class Garden:
    """Everything that was planted, and everything that was said."""

    plants: dict[str, Plant] = field(default_factory=dict)
    said: dict[str, list[bytes]] = field(default_factory=dict)

    def plant(self, name: str, text: str | None = None, *, stored: bool = False) -> str:
        made = Plant(name, text or f"CANARY{secrets.token_hex(14)}", stored)
        assert name not in self.plants
        self.plants[name] = made
        return made.text

    def used(self, *names: str) -> None:
        """There is evidence that they did what they are for."""
        for name in names:
            self.plants[name].used = True

    def hear(self, where: str, said: bytes) -> None:
        self.said.setdefault(where, []).append(said)

    def found(self, where: str, plant: Plant) -> bool:
        return any(form in said for said in self.said[where] for form in plant.forms())


def whsec() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A provider that refuses, and repeats in its answer what it was sent, the key above all."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head)
        stated = [line for line in head.decode().splitlines() if line.lower().startswith("authorization")]
        key = stated[0].split()[-1] if stated else ""
        body = json.dumps({"code": 1002, "message": f"Invalid key {key}: authorization: Bearer {key}"}).encode()
        writer.write(b"HTTP/1.1 401 no\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def settings(garden: Garden, echo_port: int) -> dict[str, str]:
    account = "TASKRELAY_ACCOUNTS__"
    given = {
        "TASKRELAY_SECRET_KEYS": f"{garden.plant('the key of secrets')},{garden.plant('the old key of secrets')}",
        "TASKRELAY_METRICS_TOKEN": garden.plant("the token of the metrics"),
        "TASKRELAY_LOG_LEVEL": "debug",
        f"{account}CLOUDSWAY__WEBHOOK_SECRET": garden.plant("what a provider signs with", whsec()),
        f"{account}ECHO__PROVIDER": "cloudsway",
        f"{account}ECHO__ENDPOINT_PATH": "sandbox",
        f"{account}ECHO__BASE_URL": f"http://127.0.0.1:{echo_port}",
    }
    for name in ("cloudsway", "ulazai", "echo"):
        given[f"{account}{name.upper()}__API_KEY"] = garden.plant(f"the key of {name}")
    return given


class Visitor:
    """A client that keeps every refusal."""

    def __init__(self, stack: Stack, garden: Garden) -> None:
        self._garden = garden
        self._client = httpx.AsyncClient(base_url=stack.url, timeout=30)
        self.key = stack.key

    async def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        headers = [("authorization", f"Bearer {key or self.key}"), *dict(more.pop("headers", {})).items()]
        answer = await self._client.request(method, path, headers=[*headers], **more)
        self._garden.hear("refusals" if answer.status_code >= 400 else "answers", answer.content)
        if answer.status_code != 302:  # that one leads to the output itself
            self._garden.hear("headers", repr(answer.headers.raw).encode())
        return answer

    async def close(self) -> None:
        await self._client.aclose()


async def test_forty_secrets_that_are_used_are_found_nowhere(tmp_path: Path) -> None:
    garden = Garden()
    async with echo() as (port, heard):
        given = settings(garden, port)
        knobs = Knobs(
            job_seconds=0.3, output_base=f"https://cdn.example/{garden.plant('a signed output', stored=True)}"
        )
        knobs.webhook_secret = given["TASKRELAY_ACCOUNTS__CLOUDSWAY__WEBHOOK_SECRET"]
        async with installation(tmp_path, knobs=knobs, settings=given, run=(sys.executable, "-c", CRASHES)) as stack:
            stack.keys = {}
            garden.plant("an admin's key", stack.key)
            await stack.start()
            visitor = Visitor(stack, garden)
            try:
                await subscribers(stack, garden, visitor)
                await work(stack, garden, visitor, heard)
                await refusals(stack, garden, visitor)
                await whatever_is_shown(garden, visitor)
            finally:
                await visitor.close()
            await doctor(stack, garden)
            await stack.kill()
            await wrong_starts(stack, garden)
            look_inside(stack, garden)
    judge(garden)


async def subscribers(stack: Stack, garden: Garden, visitor: Visitor) -> None:
    """Endpoints with secrets of all kinds: made by us, brought along, rotated; headers, and a URL that holds one."""
    token = garden.plant("a token in an endpoint's URL", stored=True)
    brought = garden.plant("a secret that was brought along", whsec())
    values = [garden.plant(f"an endpoint's {name}") for name in ("authorization", "x-api-key", "x-custom")]
    headers = {"authorization": f"Bearer {values[0]}", "x-api-key": values[1], "x-custom": values[2]}
    url = f"{stack.receiver.url}/hook"
    made = await visitor.ask("POST", "/v1/endpoints", json={"url": f"{url}?token={token}", "headers": headers})
    first = garden.plant("an endpoint's old secret", made.json()["secret"])
    other = await visitor.ask("POST", "/v1/endpoints", json={"url": f"{url}/other", "secret": brought})
    assert (made.status_code, other.status_code) == (201, 201), other.text
    turned = await visitor.ask("POST", f"/v1/endpoints/{made.json()['id']}/rotate", json={"overlap_seconds": 3600})
    second = garden.plant("an endpoint's new secret", turned.json()["secret"])
    await visitor.ask("POST", "/v1/signing-keys/rotate")
    signed = await visitor.ask("PATCH", f"/v1/endpoints/{other.json()['id']}", json={"signatures": ["v1", "v1a"]})
    assert signed.status_code == 200, signed.text
    whole = await visitor.ask("GET", "/v1/projects/current/secret")
    project = garden.plant("the project's secret", whole.json()["secret"])
    stack.subscriber.trust([first, second, brought, project])


def create(**more: object) -> dict[str, object]:
    body: dict[str, object] = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A boat"}}
    return {**body, **more}


async def work(stack: Stack, garden: Garden, visitor: Visitor, heard: list[bytes]) -> None:
    """Tasks that are bought, pushed, told, refused; an endpoint that fails; a provider that repeats our key."""
    prompt, private = garden.plant("a prompt", stored=True), garden.plant("a value of metadata", stored=True)
    per_task = garden.plant("a token in a task's URL", stored=True)
    once = garden.plant("an Idempotency-Key", stored=True)
    body = create(
        input={"prompt": f"A boat named {prompt}"},
        metadata={"private": private},
        webhook_url=f"{stack.receiver.url}/per-task?t={per_task}",
    )
    stack.subscriber.answers = Answers(status=500, times=2, headers={"x-told": "no"})
    made = await visitor.ask("POST", "/v1/tasks", json=body, headers={"idempotency-key": once})
    assert made.status_code == 202, made.text
    task = made.json()["id"]
    plain = await visitor.ask("POST", "/v1/tasks", json=create(provider="ulazai", model="kling-3.0"))
    by_account = {name: value for name, value in create(account="echo").items() if name != "provider"}
    refused = await visitor.ask("POST", "/v1/tasks", json=by_account)
    assert (plain.status_code, refused.status_code) == (202, 202), plain.text + refused.text
    await stack.until(lambda: bool(heard), "the echo was asked")
    assert garden.plants["the key of echo"].text.encode() in heard[0]
    used = {garden.plants[f"the key of {name}"].text for name in ("cloudsway", "ulazai")}
    await stack.until(lambda: used <= {key for _, key in stack.world.accounts}, "both providers were asked")
    paths = {"/hook", "/hook/other", "/per-task"}
    await stack.until(
        lambda: {one.path for one in stack.subscriber.received if one.valid and task in one.body} >= paths,
        "all three had a delivery of it",
    )
    used_by_deliveries(stack, garden, task)
    ended = await stack.task(task)
    assert ended["outputs"][0]["url"].startswith("https://cdn.example/CANARY"), ended
    again = await visitor.ask("POST", "/v1/tasks", json=body, headers={"idempotency-key": once})
    assert again.json()["id"] == task
    link = ended["output_url"].rpartition("/")[2]
    garden.plant("the token of an output", link, stored=True)
    followed = await visitor.ask("GET", f"/o/{link}")
    assert followed.status_code == 302
    garden.used(
        *(f"the key of {name}" for name in ("cloudsway", "ulazai", "echo")),
        *("a prompt", "a value of metadata", "an Idempotency-Key", "a signed output", "the token of an output"),
    )
    pushed_by_hand(stack, garden)
    token = garden.plants["the token of a callback"].text
    answer = await visitor.ask("POST", f"/callbacks/cloudsway/{token}", json={"status": "processing"})
    assert answer.status_code == 200
    garden.used("the token of a callback", "the key of secrets", "what a provider signs with")


def used_by_deliveries(stack: Stack, garden: Garden, task: str) -> None:
    """What the subscriber saw says which secrets were signed with and which headers came along."""
    good = [one for one in stack.subscriber.received if one.valid]
    assert task in "".join(one.body for one in good)
    hooks = [one for one in stack.subscriber.received if one.path == "/hook"]
    assert hooks[0].headers["x-api-key"] == garden.plants["an endpoint's x-api-key"].text
    assert hooks[0].headers["x-custom"] == garden.plants["an endpoint's x-custom"].text
    assert len(hooks[0].headers["webhook-signature"].split()) == 2, "the old and the new secret"
    assert {one.path for one in good} >= {"/hook", "/hook/other", "/per-task"}
    assert any("v1a," in one.headers["webhook-signature"] for one in good if one.path == "/hook/other")
    garden.used(
        *("an endpoint's authorization", "an endpoint's x-api-key", "an endpoint's x-custom"),
        *("an endpoint's old secret", "an endpoint's new secret", "a secret that was brought along"),
        *("the project's secret", "a token in an endpoint's URL", "a token in a task's URL"),
    )


def pushed_by_hand(stack: Stack, garden: Garden) -> None:
    [(submission,)] = sqlite3.connect(stack.folder / "taskrelay.db").execute(
        "SELECT id FROM submissions WHERE account = 'cloudsway' LIMIT 1"
    )
    stack.keys = {"TASKRELAY_SECRET_KEYS": garden.plants["the key of secrets"].text}
    garden.plant("the token of a callback", stack.push_path(submission).rpartition("/")[2])
    stack.keys = {}


async def refusals(stack: Stack, garden: Garden, visitor: Visitor) -> None:
    """Every way of being refused, and a crash."""
    task_key = await visitor.ask("POST", "/v1/keys", json={"name": "t", "scopes": ["tasks"]})
    assert task_key.status_code == 201, task_key.text
    weak = garden.plant("a key of few scopes", task_key.json()["key"])
    assert (await visitor.ask("GET", "/metrics", key=weak)).status_code == 403
    assert (await visitor.ask("DELETE", f"/v1/keys/{task_key.json()['id']}")).status_code in (200, 204)
    assert (await visitor.ask("GET", "/v1/tasks", key=weak)).status_code == 401
    wrong = garden.plant("a wrong key", "trk_" + secrets.token_hex(16).upper())
    for name, value in (("a wrong key", wrong), ("a key of another make", garden.plant("a key of another make"))):
        assert (await visitor.ask("GET", "/v1/tasks", key=value)).status_code in (401, 429)
        garden.used(name)
    said: dict[str, tuple[str, str, dict[str, Any]]] = {
        "a key in a query": ("GET", "/v1/tasks?api_key={}", {}),
        "a cookie": ("GET", "/v1/nothing", {"headers": {"cookie": "session={}"}}),
        "a user agent": ("GET", "/v1/nothing", {"headers": {"user-agent": "curl {}"}}),
        "a path of nothing": ("GET", "/v1/{}", {}),
        "a task that cannot be": ("GET", "/v1/tasks/{}", {}),
        "a wrong token of an output": ("GET", "/o/{}", {}),
        "a wrong token of a callback": ("POST", "/callbacks/cloudsway/{}", {"content": b"{}"}),
        "a body that is no JSON": ("POST", "/v1/tasks", {"content": b'{"prompt": "{}'}),
        "a password in an endpoint's URL": ("POST", "/v1/endpoints", {"json": {"url": "https://u:{}@example.com/x"}}),
        "a secret that is none": ("POST", "/v1/endpoints", {"json": {"url": "https://example.com", "secret": "{}"}}),
        "a header that may not be": (
            "POST",
            "/v1/endpoints",
            {"json": {"url": "https://example.com", "headers": {"host": "{}"}}},
        ),
    }
    for name, (method, path, more) in said.items():
        text = garden.plant(name)
        answer = await visitor.ask(method, path.replace("{}", text), **_with(more, text))
        assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text)
        garden.used(name)
    careless = garden.plant("what a careless library quotes")
    crashed = await visitor.ask("GET", f"/v1/usage?p={careless}", headers={"x-api-key": careless, "cookie": careless})
    assert crashed.status_code == 500, crashed.text
    garden.used("what a careless library quotes", "a key of few scopes", "an admin's key")
    for agent, status in (("a [31mb", 404), ("a\x1b[31mb", 400)):  # the second is refused before it is a request
        evil = await visitor.ask("GET", "/v1/tasks/%0a%1b[31m%0d%0a", headers={"user-agent": agent})
        assert evil.status_code == status


def _with(more: dict[str, Any], text: str) -> dict[str, Any]:
    """The same, with the secret in its places."""
    if isinstance(more.get("content"), bytes):
        return {
            **more,
            "content": more["content"].replace(b"{}", text.encode()) if b"prompt" in more["content"] else b"{}",
        }
    if not more:
        return {}
    filled: dict[str, Any] = json.loads(json.dumps(more).replace("{}", text))
    return filled


async def whatever_is_shown(garden: Garden, visitor: Visitor) -> None:
    """The metrics; and what a key may read, for the secrets of the installation."""
    metrics = await visitor.ask("GET", "/metrics", key=garden.plants["the token of the metrics"].text)
    assert metrics.status_code == 200
    garden.hear("metrics", metrics.content)
    garden.used("the token of the metrics")
    tasks = (await visitor.ask("GET", "/v1/tasks")).json()["data"]
    paths = [f"/v1/tasks/{task['id']}{more}" for task in tasks for more in ("", "/timeline")]
    for path in (*paths, "/v1/accounts", "/v1/endpoints", "/v1/events", "/v1/deliveries", "/v1/keys", "/v1/audit/log"):
        answer = await visitor.ask("GET", path)
        assert answer.status_code == 200, path
        garden.hear("what can be read", answer.content)


async def run(stack: Stack, *arguments: str, **extra: str) -> tuple[int, bytes]:
    """A command to its end: how it ended, and all that it said."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from service.cli import main; main()", *arguments),
        cwd=stack.folder,
        env={**stack.environment(), **extra},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, said


async def doctor(stack: Stack, garden: Garden) -> None:
    for more in ((), ("--json",)):
        _, said = await run(stack, "doctor", *more)
        assert b"cloudsway" in said
        garden.hear("doctor", said)


async def wrong_starts(stack: Stack, garden: Garden) -> None:
    """Settings that cannot be: the wrong value may be a secret that landed in the wrong variable."""
    account = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"
    wrong = {
        "a key where a rate belongs": (f"{account}RATE", "{}"),
        "a key under a name that means nothing": ("TASKRELAY_SECRTE_KEYS", "{}"),
        "a password in PUBLIC_URL": ("TASKRELAY_PUBLIC_URL", "https://u:{}@relay.example.com"),
        "a password in BASE_URL": (f"{account}BASE_URL", "https://u:{}@api.example.com"),
        "the password of a database": ("TASKRELAY_DATABASE_URL", "postgresql://u:{}@127.0.0.1:9/none"),
        "the password of a database of no kind": ("TASKRELAY_DATABASE_URL", "mysql://u:{}@127.0.0.1:9/none"),
        "a short key of secrets": ("TASKRELAY_SECRET_KEYS", "{}"),
        "a token with a blank": ("TASKRELAY_METRICS_TOKEN", "{} x"),
    }
    for name, (variable, form) in wrong.items():
        text = garden.plant(name, f"CANARY{secrets.token_hex(8)}" if "short" in name else None)
        for command in (("serve", "--port", "0"), ("doctor", "--offline")):
            if "means nothing" in name and command[0] == "serve":
                continue  # that is a warning, and it would serve
            code, said = await run(stack, *command, **{variable: form.replace("{}", text)})
            assert code != 0 or command[0] == "doctor", (name, said)
            garden.hear("refused starts", said)
        garden.used(name)
    key = {"TASKRELAY_SECRET_KEYS": garden.plant("a key that sealed nothing")}
    code, said = await run(stack, "serve", "--port", "0", **key)
    assert code != 0 and b"sealed with key" in said, said
    garden.hear("refused starts", said)
    garden.used("a key that sealed nothing", "the old key of secrets")


def look_inside(stack: Stack, garden: Garden) -> None:
    """The log, the rows and the files. The private half of a signing key is known to nobody else: it is unsealed for this."""
    garden.hear("log", (stack.folder / "service.log").read_bytes())
    with sqlite3.connect(stack.folder / "taskrelay.db") as database:
        sealed = [row[0] for row in database.execute("SELECT sealed FROM signing_keys")]
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for row in database.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 (names of the schema)
                cells = (one if isinstance(one, bytes) else str(one).encode() for one in row if one is not None)
                garden.hear("rows", b"\0".join(cells))
    keyring = Keyring([garden.plants[name].text.encode() for name in ("the key of secrets", "the old key of secrets")])
    assert sealed
    for number, one in enumerate(sealed):
        garden.plant(f"a signing key ({number})", keyring.open(one, SIGNING_KEY))
        garden.used(f"a signing key ({number})")
    for path in stack.folder.glob("taskrelay.db*"):
        garden.hear("files", path.read_bytes())


OUTWARD = ("log", "refusals", "headers", "metrics", "doctor", "refused starts")
INSTALLATION: tuple[Callable[[str], bool], ...] = (
    lambda name: name.startswith(("the key of", "the old key of", "the token of the metrics", "what a provider signs")),
    lambda name: "signing key" in name or "header that" in name,
)


def judge(garden: Garden) -> None:
    """Each was used, none is where it may not be, and the search finds what is there."""
    plants = list(garden.plants.values())
    assert [one.name for one in plants if not one.used] == []
    assert len(plants) >= 40, len(plants)
    leaks = [(where, one.name) for where in OUTWARD for one in plants if garden.found(where, one)]
    leaks += [
        (where, one.name)
        for where in ("rows", "files")
        for one in plants
        if not one.stored and garden.found(where, one)
    ]
    ours = [one for one in plants if any(is_ours(one.name) for is_ours in INSTALLATION)]
    leaks += [("what can be read", one.name) for one in ours if garden.found("what can be read", one)]
    assert leaks == []
    # The same search finds what is there: in the rows each that may be, and in every other place a word of that place.
    kept = [one for one in plants if one.stored and one.name != "an Idempotency-Key"]
    assert [one.name for one in kept if not garden.found("rows", one)] == []
    for where, word in {
        "log": "taskrelay.access",
        "refusals": "unauthorized",
        "headers": "x-request-id",
        "metrics": "taskrelay_http_problems_total",
        "doctor": "cloudsway",
        "refused starts": "TASKRELAY_",
        "files": "SQLite format 3",
        "what can be read": "task_",
    }.items():
        assert garden.found(where, Plant("control", word)), where
    log = b"".join(garden.said["log"]).decode()
    assert "careless: " in log and "Traceback" in log, "the crash is there, without what it quoted"
    assert all(json.loads(line) for line in log.splitlines() if line.startswith("{")), "each is one line"
    assert "\x1b" not in log
    sys.stdout.write(f"\n{len(plants)} secrets planted and used, 0 found in {', '.join(garden.said)}\n")
