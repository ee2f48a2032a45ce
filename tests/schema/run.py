"""Schemathesis against a live service, its database and a sandbox of providers: what is served is what is described.

Real processes; the tester is another one, and reads the document from the service itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from service.api.openapi.pages import assets
from tests.e2e.stack import Stack, installation

SETTINGS = Path(__file__).parent / "settings.toml"
PHASES = "examples,coverage,fuzzing,stateful"


async def hold(folder: Path, *, examples: int, seed: int, more: tuple[str, ...] = ()) -> tuple[int, str]:
    """The tester's exit code, and what it said."""
    async with installation(folder) as stack:
        await stack.start(TASKRELAY_ACCESS_LOG="false")
        settings = folder / "schemathesis.toml"
        settings.write_text(SETTINGS.read_text() + await _known(stack))
        code, said = await _test(stack, settings, examples, seed, more)
        async with stack.client() as client:
            answer = await client.get("/v1/whoami")
        assert answer.status_code == 200, (
            f"the tester's key was lost on the way, so what followed proves nothing: {said}"
        )
        return code, said


async def _known(stack: Stack) -> str:
    """What no operation gives, for the tester: a task that succeeded, where its output is, where its provider pushes."""
    await stack.subscribe()
    task_id = (await stack.create(reference="for the tester")).json()["id"]
    async with stack.client() as client:
        task = (await client.get(f"/v1/tasks/{task_id}", params={"wait": 60})).json()
        assert task["status"] == "succeeded", task
        delivery = (await client.get("/v1/deliveries", params={"task": task_id})).json()["data"][0]["id"]
    victim = (await stack.command("keys", "create", "--name", "victim", "--scope", "read", "--json"))["id"]
    push = stack.push_path(task["evidence"][0]["submission"]).rpartition("/")[2]
    script = assets()["start.js"].name
    named = {
        "revokeKey": {"id": victim},
        "followOutput": {"token": task["output_url"].rpartition("/")[2]},
        "pushCallback": {"provider": "cloudsway", "token": push},
        "getAsset": {"name": script},
        "getDelivery": {"id": delivery},
        "retryDelivery": {"id": delivery},
    }
    return "".join(
        f'\n[[operations]]\ninclude-operation-id = "{operation}"\n[operations.parameters]\n'
        + "".join(f'"path.{name}" = "{value}"\n' for name, value in parameters.items())
        for operation, parameters in named.items()
    )


async def _test(stack: Stack, settings: Path, examples: int, seed: int, more: tuple[str, ...]) -> tuple[int, str]:
    tester = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"),
        *("--config-file", str(settings), "run", f"{stack.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {stack.key}"),
        *("--phases", PHASES, "--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
        *("--continue-on-failure", "--no-color", "--max-redirects", "0"),
        *more,
        cwd=stack.folder,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await tester.communicate()
    return await tester.wait(), said.decode(errors="replace")
