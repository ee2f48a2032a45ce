"""A real Chromium without a window, driven by its own protocol: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# As root its own sandbox does not work; what it opens here is ours.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "about:blank",
)
PATIENCE_SECONDS = 120.0


class Page:
    """One open page. `said`: what it wrote to its console, what its policy refused, what failed. `asked`: every address it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.said: list[str] = []
        self.asked: list[str] = []

    async def listen(self) -> None:
        """Hear what the browser tells, until it goes."""
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                self._hear(told["method"], told["params"])

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Log.entryAdded":
                self.said.append(f"{told['entry']['source']}: {told['entry']['text']}")
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning"):
                self.said.append(f"console: {[one.get('value', one.get('description')) for one in told['args']]}")
            case "Runtime.exceptionThrown":
                self.said.append(f"exception: {told['exceptionDetails']}")
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case _:
                pass

    async def order(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await self._waiting[number]
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        for domain in ("Log", "Runtime", "Network", "Page"):
            await self.order(f"{domain}.enable")
        await self.order("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, once it is kept."""
        told = await self.order("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def shown(self, selector: str) -> None:
        """Wait until something is in the page. Asked by us, for a page that is being replaced forgets what it was to watch."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.run(f"!!document.querySelector({json.dumps(selector)})"):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what the browser tells: a complaint comes on its own, and not before the answer to what caused it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 (heard by another task)
                await asyncio.sleep(0.02)

    async def click(self, selector: str) -> None:
        await self.shown(selector)
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, selector: str, text: str) -> None:
        """As a person would: a page that keeps what is typed elsewhere hears of it."""
        await self.shown(selector)
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.order("Input.insertText", text=text)

    async def text(self, selector: str) -> str:
        await self.shown(selector)
        found = await self.run(f"document.querySelector({json.dumps(selector)}).textContent")
        return str(found)


def program() -> Sequence[str]:
    """The browser there is."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found is not None, "no Chromium: .ci/tools installs it (Debian: apt install chromium-headless-shell)"
    return (found, *FLAGS)


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """A page in a browser of its own, which ends with the context."""
    with tempfile.TemporaryDirectory(prefix="taskrelay-browser-", ignore_cleanup_errors=True) as folder:
        [first, *rest] = program()
        process = await asyncio.create_subprocess_exec(
            first,
            f"--user-data-dir={folder}",
            *rest,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            port = await _port(process)
            async with aiohttp.ClientSession() as session:
                address = await _first_page(session, port)
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    hearing = asyncio.create_task(page.listen())
                    yield page
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its children hold its stderr, and would be waited for
            await process.wait()


async def _first_page(session: aiohttp.ClientSession, port: int) -> str:
    """Where its one page is reached, which it opens a moment after it has begun to listen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one["webSocketDebuggerUrl"] for one in await answer.json() if one["type"] == "page"]
            if pages:
                return str(pages[0])
            await asyncio.sleep(0.05)


async def _port(process: asyncio.subprocess.Process) -> int:
    """Where it listens, which it says on stderr."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in process.stderr:
            if line.startswith(b"DevTools listening on ws://"):
                return int(line.split(b"/")[2].rpartition(b":")[2])
    raise AssertionError(f"{program()[0]} did not start")
