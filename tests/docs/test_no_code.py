"""What docs/no-code.md has n8n and Make send is understood, and what it says they get is what they get."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs import pages
from tests.e2e.stack import installation

PAGE = "docs/no-code.md"


def workflow() -> dict[str, Any]:
    """The n8n workflow of the page, its nodes by name."""
    [found] = [json.loads(block) for block in pages.FENCE.findall(pages.section(PAGE, "n8n")) for block in [block[1]]]
    return {**found, "nodes": {node["name"]: node for node in found["nodes"]}}


def evaluated(expression: str, values: dict[str, str]) -> str:
    """An n8n field, `=` and text with `{{ JSON.stringify(name) }}` or `{{ name }}` in it, for these values."""
    assert expression.startswith("=")

    def value(found: re.Match[str]) -> str:
        quoted = re.fullmatch(r"JSON\.stringify\((.*)\)", found[1])
        return json.dumps(values[quoted[1]]) if quoted else values[found[1]]

    return re.sub(r"\{\{ (.*?) \}\}", value, expression[1:])


def test_the_workflow_is_whole() -> None:
    found = workflow()
    ends = [link["node"] for links in found["connections"].values() for [link] in links["main"]]
    assert ["Order", *ends] == list(found["nodes"])
    assert len({node["id"] for node in found["nodes"].values()}) == len(found["nodes"])
    assert found["nodes"]["Until it has ended"]["parameters"]["httpMethod"] == "POST"


@pytest.mark.slow
async def test_the_workflow_goes_on_when_its_task_has_ended(tmp_path: Path) -> None:
    nodes = workflow()["nodes"]
    made = json.loads(nodes["What to make"]["parameters"]["jsonOutput"])
    prompt = 'A boat called "Paper"\nin the rain'
    async with installation(tmp_path) as stack:
        await stack.start()
        async with stack.client() as client:
            stack.subscriber.trust([(await client.get("/v1/projects/current/secret")).json()["secret"]])
            body = evaluated(
                nodes["Create the task"]["parameters"]["jsonBody"],
                {
                    "$json.order": made["order"],
                    "$json.prompt": prompt,
                    "$execution.resumeUrl": f"{stack.receiver.url}/webhook-waiting/17?signature=abc",
                },
            )
            reply = await client.post("/v1/tasks", content=body, headers={"content-type": "application/json"})
            assert reply.status_code == 202, reply.text
            await stack.until(lambda: bool(stack.subscriber.received), "the call that resumes")
            url = evaluated(
                nodes["Read the task"]["parameters"]["url"],
                {"$('Create the task').item.json.id": reply.json()["id"]},
            )
            task = (await client.get(url.removeprefix("https://relay.example.org"))).json()
    [resumed] = stack.subscriber.received
    assert resumed.valid
    assert (task["status"], task["final"], task["reference"]) == ("succeeded", True, made["order"])
    assert task["input"]["prompt"] == prompt and task["output_url"]


@pytest.mark.slow
async def test_makes_requests_are_understood(tmp_path: Path) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        fields = {"1.order": "order-1", "1.prompt": "A paper boat", "id": ""}
        hook = f"{stack.receiver.url}/make"
        async with stack.client() as client:
            for one in pages.requests(PAGE, "Make", fields):
                body = one.body.replace("https://hook.eu1.make.com/…".encode(), hook.encode())
                path = one.path.replace("endpoints//", f"endpoints/{fields['id']}/")
                reply = await client.request(one.method, path, content=body or None, headers=one.headers)
                assert 200 <= reply.status_code < 300, f"{one.method} {path}: {reply.text}"
                if path == "/v1/endpoints":
                    fields["id"] = reply.json()["id"]
                    stack.subscriber.trust([reply.json()["secret"]])
            await stack.until(lambda: len(stack.subscriber.received) == 2, "the sample and the event")
    assert all(one.valid for one in stack.subscriber.received)
