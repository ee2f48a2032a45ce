"""A client, a stream, an output link and a push through the proxies of docs/going-live.md, as they stand there."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.cli.demo.stage import free_port
from tests.docs import pages
from tests.e2e.stack import PATIENCE_SECONDS, installation

pytestmark = pytest.mark.slow

Proxy: TypeAlias = Callable[[Path, int], AbstractAsyncContextManager[str]]
PAGE = "docs/going-live.md"
ORDER = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}


def certificate(folder: Path) -> None:
    """A certificate for this machine, where the page has one for its name."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example.org")])
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def moved(name: str, *places: tuple[str, str]) -> str:
    """A file of the page, with what is of the real machine replaced by what is of this one, and nothing else."""
    conf = pages.program(PAGE, name)
    for told, here in places:
        assert told in conf
        conf = conf.replace(told, here)
    return conf


@asynccontextmanager
async def nginx(folder: Path, upstream: int) -> AsyncIterator[str]:
    port = free_port()
    certificate(folder)
    conf = moved(
        "/etc/nginx/conf.d/taskrelay.conf",
        ("/etc/letsencrypt/live/relay.example.org/", f"{folder}/"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    own = [f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    whose = "user root;" if os.geteuid() == 0 else ""  # the folder of a test is its owner's alone
    (folder / "nginx.conf").write_text(
        "\n".join(
            [
                f"{whose}pid {folder}/pid; daemon off; events {{}} http {{ access_log {folder}/access.log;",
                *own,
                conf,
                "}",
            ]
        ),
        encoding="utf-8",
    )
    async with running("nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", port=port):
        yield f"https://127.0.0.1:{port}"


@asynccontextmanager
async def caddy(folder: Path, upstream: int) -> AsyncIterator[str]:
    """Without TLS: it would ask for a certificate of its own."""
    port = free_port()
    conf = moved(
        "/etc/caddy/Caddyfile",
        ("relay.example.org", f"{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port}"),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    (folder / "Caddyfile").write_text(conf, encoding="utf-8")
    command = ("caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile")
    async with running(*command, port=port, ending=signal.SIGKILL):  # asked, it takes a minute to end
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def running(*command: str, port: int, ending: signal.Signals = signal.SIGTERM) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                assert process.returncode is None, f"{command} does not take its configuration"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield
    finally:
        if process.returncode is None:
            process.send_signal(ending)
        await process.wait()


def needs(proxy: Proxy) -> object:
    name = getattr(proxy, "__name__", "")
    absent = pytest.mark.skipif(not shutil.which(name), reason=f"needs {name}; its file is read by test_going_live.py")
    return pytest.param(proxy, id=name, marks=absent)


@pytest.mark.parametrize("proxy", [needs(nginx), needs(caddy)])
async def test_everything_goes_through_that_must(proxy: Proxy, tmp_path: Path) -> None:
    async with installation(tmp_path) as stack, proxy(tmp_path, stack.port) as url:
        await stack.start()
        trusted: ssl.SSLContext | bool = False
        if url.startswith("https:"):
            trusted = ssl.create_default_context(cafile=tmp_path / "fullchain.pem")
        key = {"authorization": f"Bearer {stack.key}"}
        async with httpx.AsyncClient(base_url=url, verify=trusted, headers=key, timeout=60) as client:
            made = await streamed(client)
            large = await client.post(
                "/v1/tasks", content=b" " * (2**20 + 1), headers={"content-type": "application/json"}
            )
            assert (large.status_code, large.json()["code"]) == (413, "too_large")  # in our words
            push = await client.post("/callbacks/cloudsway/v1.nonsense", content=b" " * 2**19)
            assert (push.status_code, push.headers["content-type"]) == (404, "application/problem+json")
            output = httpx.URL(made["output_url"]).raw_path.decode()
            seen = [(await client.get(path)).status_code for path in (output, "/docs/problems", "/readyz", "/")]
            assert seen == [302, 200, 404, 404]
    if proxy is nginx:
        logged = (tmp_path / "access.log").read_text()
        assert "/v1/tasks" in logged and "/o/" not in logged and "/callbacks/" not in logged


async def streamed(client: httpx.AsyncClient) -> dict[str, str]:
    """Order beside an open stream, which must pass on each block at once and not when a buffer is full."""
    async with client.stream("GET", "/v1/events/stream") as stream, asyncio.timeout(PATIENCE_SECONDS):
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        made = await client.post("/v1/tasks", json=ORDER, headers={"prefer": "wait=25"})
        assert (made.status_code, made.json()["status"]) == (200, "succeeded")
        async for line in lines:
            if line == "event: task.succeeded":
                break
        task: dict[str, str] = made.json()
        return task
