"""Several real replicas on one PostgreSQL: who takes over from one that stops, dies, stands still or is cut off, and how soon."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest

from tests import postgres
from tests.service.cli.processes import SECONDS, Running, run_json

pytestmark = pytest.mark.slow

TTL_SECONDS = 7.0
SETTINGS = {
    "TASKRELAY_SECRET_KEYS": "k3yQv9Lx2mT7wZp4Rn8sJd5Hb6Fc1Ga0",
    "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
    "TASKRELAY_EGRESS__PORTS": "*",
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "nothing-is-bought-here",
    "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "none",
    "TASKRELAY_UNSAFE_TIMING": "1",
    "TASKRELAY_TIMING__LANE_TTL_SECONDS": str(TTL_SECONDS),
    "TASKRELAY_TIMING__HEARTBEAT_SECONDS": "1",
    "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "1",
    "TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "1",
    "TASKRELAY_TIMING__QUERY_TIMEOUT_SECONDS": "1",
}
LOOK_SECONDS = 5.0  # how often a lane whose owner died is looked for at least
SOON_SECONDS = 1.0  # of several times the one in the middle: a machine that stands still once spoils one
IDLE = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND xact_start < '{before}'
"""


class Subscriber:
    """Takes events, and answers while `open`. `seen`: (event id, when it came)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []
        self.open = threading.Event()
        self.changed = threading.Condition()
        outer = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with outer.changed:
                    outer.seen.append((self.headers["webhook-id"], time.monotonic()))
                    outer.changed.notify_all()
                outer.open.wait(SECONDS)
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    pass  # who asked is dead

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def until(self, count: int, seconds: float = SECONDS) -> None:
        """Wait for so many requests."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, seconds), self.seen


@contextmanager
def subscribing() -> Iterator[Subscriber]:
    made = Subscriber()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.open.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class Cable:
    """Between a replica and the server, where it can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder = parse_qs(parts.query)["host"][0]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://postgres@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        self._whole = True
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(f"{self._folder}/.s.PGSQL.5432")
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while some := one.recv(65536):
                other.sendall(some)
        except OSError:
            pass
        for end in (one, other):
            end.close()

    def cut(self) -> None:
        self._whole = False
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


@dataclass
class House:
    """A door, and workers that are started one by one."""

    folder: Path
    url: str
    stack: ExitStack
    settings: dict[str, str] = field(default_factory=dict)
    door: str = ""
    key: str = ""

    def start(self, roles: str, **more: str) -> tuple[Running, dict[str, Any]]:
        settings = {**SETTINGS, "TASKRELAY_DATABASE_URL": self.url, **self.settings, **more}
        started = self.stack.enter_context(
            Running.start("serve", "--port", "0", "--roles", roles, "--json", cwd=self.folder, settings=settings)
        )
        return started, started.ready()

    def furnish(self) -> None:
        settings = {**SETTINGS, "TASKRELAY_DATABASE_URL": self.url}
        self.key = run_json(
            "keys",
            "create",
            "--name",
            "me",
            "--scope",
            "tasks,endpoints,read,admin",
            cwd=self.folder,
            settings=settings,
        )["key"]
        self.door = self.start("api")[1]["url"]
        self.ask("POST", "/v1/accounts/cloudsway/pause")

    def ask(self, method: str, path: str, **more: Any) -> Any:
        said = httpx.request(
            method,
            f"{self.door}{path}",
            headers={"authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=SECONDS,
            **more,
        )
        assert said.status_code < 300, said.text
        return said.json()

    def endpoint(self, url: str) -> str:
        return str(self.ask("POST", "/v1/endpoints", json={"url": url, "max_in_flight": 1})["id"])

    def owe(self, count: int) -> None:
        """Make events: tasks that end before anything is bought."""
        wanted = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A boat"}}
        for _ in range(count):
            made = self.ask("POST", "/v1/tasks", json=wanted)
            self.ask("POST", f"/v1/tasks/{made['id']}/cancel")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async def look() -> list[tuple[Any, ...]]:
            link = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await link.fetch(sql)]
            finally:
                await link.close()

        return asyncio.run(look())

    def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> float:
        """How long it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds
            time.sleep(0.02)
        return time.monotonic() - began

    def owners(self) -> list[str]:
        return [
            str(owner).split("-")[0]
            for (owner,) in self.rows(
                "SELECT owner FROM lanes WHERE until > extract(epoch FROM clock_timestamp()) * 1000000"
            )
        ]

    def delivered(self) -> int:
        [(count,)] = self.rows("SELECT count(*) FROM deliveries WHERE status = 'delivered'")
        return int(count)


@pytest.fixture
def house(server_url: str, tmp_path: Path) -> Iterator[House]:
    url = asyncio.run(postgres.database(server_url, f"replicas_{time.time_ns()}"))
    with ExitStack() as stack:
        made = House(folder=tmp_path, url=url, stack=stack)
        made.furnish()
        yield made


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    with subscribing() as made:
        yield made


def middle(taken: list[float]) -> float:
    return sorted(taken)[len(taken) // 2]


@pytest.mark.parametrize("pooled", ["false", "true"])
def test_a_worker_sends_soon_what_the_door_took(house: House, subscriber: Subscriber, pooled: str) -> None:
    house.settings["TASKRELAY_POSTGRES__POOLED"] = pooled
    house.furnish()
    house.start("work")
    subscriber.open.set()
    house.endpoint(subscriber.url)
    taken = []
    for number in range(8):
        house.owe(1)
        asked = time.monotonic()
        subscriber.until(number + 1)
        taken.append(max(subscriber.seen[-1][1] - asked, 0.0))
    assert middle(taken) < SOON_SECONDS, taken
    [(now,)] = house.rows("SELECT clock_timestamp()::text")
    house.until(lambda: house.rows(IDLE.format(before=now)) == [(0,)])  # nobody keeps a transaction open


@pytest.mark.parametrize("pooled", ["false", "true"])
def test_who_stops_hands_its_lanes_over_at_once(house: House, subscriber: Subscriber, pooled: str) -> None:
    # An attempt that is waited for here must not end by itself.
    house.settings |= {"TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "60", "TASKRELAY_TIMING__LANE_TTL_SECONDS": "90"}
    house.settings["TASKRELAY_POSTGRES__POOLED"] = pooled
    one, _ = house.start("work")
    house.endpoint(subscriber.url)
    taken = []
    for before in (0, 3, 6):
        subscriber.open.clear()
        house.owe(3)
        subscriber.until(before + 1)
        other, _ = house.start("work")
        one.send(signal.SIGTERM)
        one.until(lambda line: "stopping" in line)
        subscriber.open.set()
        answered = time.monotonic()
        subscriber.until(before + 3)
        taken.append(subscriber.seen[before + 1][1] - answered)
        assert one.wait() == 0
        house.until(lambda before=before: house.delivered() == before + 3)  # type: ignore[misc]
        one = other
    assert middle(taken) < LOOK_SECONDS - 1.5, taken  # who has just come up looks next after five seconds
    assert set(Counter(event for event, _ in subscriber.seen).values()) == {1}  # nothing twice


def test_who_is_killed_is_followed_when_its_lease_ends(house: House, subscriber: Subscriber) -> None:
    # The attempt that the kill cuts off must not have ended by itself before.
    house.settings |= {"TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "4", "TASKRELAY_TIMING__LANE_TTL_SECONDS": "10"}
    workers = {facts["pid"]: worker for worker, facts in (house.start("work"), house.start("work"))}
    house.endpoint(subscriber.url)
    house.owe(3)
    subscriber.until(1)
    [(owner,)] = house.rows("SELECT owner FROM lanes WHERE kind = 'endpoint'")
    workers[int(owner.split("-")[0])].popen.kill()
    died = time.monotonic()
    subscriber.open.set()
    house.until(lambda: house.delivered() == 3)
    assert time.monotonic() - died < 2 * (10 + LOOK_SECONDS)
    told = Counter(event for event, _ in subscriber.seen)
    assert len(told) == 3 and sum(told.values()) == 4  # the one in flight again, with its id


def test_who_stood_still_beyond_its_lease_changes_nothing_and_goes_on(house: House, subscriber: Subscriber) -> None:
    one, facts = house.start("work")
    house.endpoint(subscriber.url)
    house.owe(3)
    subscriber.until(1)
    one.send(signal.SIGSTOP)
    _, other = house.start("work")
    subscriber.open.set()
    house.until(lambda: house.delivered() == 3)
    before = house.rows("SELECT id, status, attempts, due_at FROM deliveries ORDER BY id")
    one.send(signal.SIGCONT)
    assert httpx.get(f"{facts['url']}/readyz", trust_env=False, timeout=SECONDS).status_code == 200
    house.owe(1)
    house.until(lambda: house.delivered() == 4)
    after = house.rows("SELECT id, status, attempts, due_at FROM deliveries ORDER BY id")
    assert [row for row in after if row in before] == before
    assert len({event for event, _ in subscriber.seen}) == 4 and len(subscriber.seen) <= 5
    assert str(other["pid"]) not in house.owners() or str(facts["pid"]) not in house.owners()
    assert one.end() == 0


def test_who_is_cut_off_says_so_and_goes_on_by_itself(house: House, subscriber: Subscriber) -> None:
    cable = Cable(house.url)
    house.stack.callback(cable.close)
    one, facts = house.start("work", TASKRELAY_DATABASE_URL=cable.url)
    subscriber.open.set()
    house.endpoint(subscriber.url)
    house.owe(1)
    house.until(lambda: house.delivered() == 1)

    def ready() -> int:
        return httpx.get(f"{facts['url']}/readyz", trust_env=False, timeout=SECONDS).status_code

    cable.cut()
    house.until(lambda: ready() == 503)
    house.owe(1)
    assert httpx.get(f"{facts['url']}/livez", trust_env=False, timeout=SECONDS).status_code == 200
    cable.mend()
    house.until(lambda: ready() == 200)
    house.until(lambda: house.delivered() == 2)
    assert one.end() == 0


@pytest.mark.parametrize("pooled", ["false", "true"])
def test_a_request_that_waits_hears_of_what_another_replica_did(house: House, pooled: str) -> None:
    house.settings["TASKRELAY_POSTGRES__POOLED"] = pooled
    house.furnish()
    other = house.start("api")[1]["url"]
    wanted = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A boat"}}
    task = house.ask("POST", "/v1/tasks", json=wanted)["id"]
    after = house.ask("GET", "/v1/events")["next"]
    with ThreadPoolExecutor(2) as pool:

        def waits(path: str) -> tuple[float, Any]:
            found = house.ask("GET", path)
            return time.monotonic(), found

        waiting = [
            pool.submit(waits, f"/v1/tasks/{task}?wait=20"),
            pool.submit(waits, f"/v1/events?wait=20&after={after}"),
        ]
        time.sleep(1.0)  # both have read once, on most machines: nothing tells that from outside
        asked = time.monotonic()
        said = httpx.post(
            f"{other}/v1/tasks/{task}/cancel",
            headers={"authorization": f"Bearer {house.key}"},
            trust_env=False,
            timeout=SECONDS,
        )
        assert said.status_code == 200
        (one, found), (two, events) = (future.result() for future in waiting)
    assert found["status"] == "canceled" and [event["type"] for event in events["data"]] == ["task.canceled"]
    assert max(one, two) - asked < 4.0  # and not when their twenty seconds are over
