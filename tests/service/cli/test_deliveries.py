from __future__ import annotations

from pathlib import Path

import httpx

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import SECONDS, Running, run, run_json


def test_a_delivery_is_listed_with_its_attempts_and_answer(relay: Relay, tmp_path: Path) -> None:
    with Running.start("subscriber", "--port", "0", "--json", cwd=tmp_path) as subscriber:
        hook = subscriber.ready()["url"]
        task = run_json("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--webhook-url", f"{hook}/done",
                        "--wait", cwd=relay.folder, settings=relay.client)  # fmt: skip
        headers = {"authorization": f"Bearer {relay.client['TASKRELAY_KEY']}"}
        with httpx.Client(base_url=relay.url, headers=headers, trust_env=False, timeout=SECONDS) as client:
            one = {"status": "pending"}
            while one["status"] == "pending":
                [one] = client.get("/v1/deliveries", params={"task": task["id"]}).json()["data"]
        assert subscriber.end() == 0
    found = run_json("deliveries", "list", "--task", task["id"], cwd=relay.folder, settings=relay.client)
    assert [(one["status"], one["event_type"]) for one in found["data"]] == [("delivered", "task.succeeded")]
    shown = run(
        "deliveries", "list", "--status", "delivered", "--task", task["id"], cwd=relay.folder, settings=relay.client
    )
    head, line = shown.stdout.splitlines()
    assert head.split() == ["DELIVERY", "STATUS", "TYPE", "ENDPOINT", "ATTEMPTS", "LAST", "NEXT"]
    assert line.split()[1:3] == ["delivered", "task.succeeded"] and line.split()[4:] == ["1", "204", "-"]


def test_a_status_that_there_is_not_is_refused_by_name(relay: Relay) -> None:
    refused = run("deliveries", "list", "--status", "lost", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and refused.stderr.startswith("422 ") and "delivered" in refused.stderr
