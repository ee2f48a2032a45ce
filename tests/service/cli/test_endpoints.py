from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json
from tests.service.cli.processes import run, run_json

HOOK = "http://127.0.0.1:9/hook"


@pytest.mark.slow
def test_an_endpoint_is_made_listed_and_deleted_and_its_secret_shown_once(relay: Relay) -> None:
    made = run_json("endpoints", "create", HOOK, "--event", "task.failed", "--event", "endpoint.*",
                    "--description", "mine", cwd=relay.folder, settings=relay.client)  # fmt: skip
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["events"], made["description"]) == (HOOK, ["task.failed", "endpoint.*"], "mine")
    listed = run("endpoints", "list", cwd=relay.folder, settings=relay.client).stdout
    assert made["id"] in listed and HOOK in listed and made["secret"] not in listed
    for _ in range(2):  # a lost answer must be repeatable
        gone = run_json("endpoints", "delete", made["id"], cwd=relay.folder, settings=relay.client)
        assert gone == {"id": made["id"], "deleted": True}
    left = run_json("endpoints", "list", cwd=relay.folder, settings=relay.client)
    assert made["id"] not in [one["id"] for one in left["data"]]


def test_a_person_reads_what_the_secret_is_for(relay: Relay) -> None:
    shown = run("endpoints", "create", HOOK, cwd=relay.folder, settings=relay.client)
    assert shown.returncode == 0
    first, events, *_, secret, why = shown.stdout.splitlines()
    assert first.endswith(HOOK) and "task.succeeded" in events
    assert secret.split()[1].startswith("whsec_") and "Verify every event" in why
    run("endpoints", "delete", first.split()[0], cwd=relay.folder, settings=relay.client)


def test_a_url_that_may_not_be_called_is_refused_with_its_field(relay: Relay) -> None:
    refused = run("endpoints", "create", "https://169.254.169.254/", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and refused.stderr.startswith("422 /url  ")
    refused = run("endpoints", "create", HOOK, "--event", "task.succeded", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and "task.succeeded" in refused.stderr


def test_an_endpoint_is_changed_by_what_is_said_and_back_to_its_default(relay: Relay) -> None:
    made = said_json(relay, "endpoints", "create", HOOK, "--provider", "cloudsway", "--metadata", "shop=eu-*",
                     "--header", "x-key=abc", "--retry-schedule", "5,60", "--rate-limit", "3")  # fmt: skip
    assert made["filter"] == {"provider": ["cloudsway"], "metadata": {"shop": ["eu-*"]}}
    assert (list(made["headers"]), made["retry_schedule"], made["rate_limit"]) == (["x-key"], [5, 60], 3)
    change = ("endpoints", "update", made["id"])
    changed = said_json(relay, *change, "--target", f"{HOOK}2", "--model", "kling-*", "--reset", "rate_limit")
    assert (changed["url"], changed["filter"], changed["rate_limit"]) == (f"{HOOK}2", {"model": ["kling-*"]}, None)
    assert changed["retry_schedule"] == [5, 60], "what is not said stays"
    shown = said(relay, "endpoints", "get", made["id"]).out
    assert shown.splitlines()[0] == f"{made['id']}  active  {HOOK}2" and "  filter     model kling-*" in shown
    assert "abc" not in shown and "whsec_" not in shown
    assert said_json(relay, *change, "--reset", "filter", "--reset", "headers")["filter"] is None
    assert said(relay, *change).code == 2
    both = said(relay, *change, "--rate-limit", "5", "--reset", "rate_limit")
    assert both.code == 2 and "rate_limit" in both.err
    wrong = said(relay, *change, "--max-in-flight", "100")
    assert wrong.code == 1 and wrong.err.startswith("422 /max_in_flight  ")
    said(relay, "endpoints", "delete", made["id"])


def test_a_secret_of_ones_own_comes_from_a_file_and_is_not_shown(relay: Relay, tmp_path: Path) -> None:
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    (tmp_path / "secret").write_text(own)
    made = said(relay, "endpoints", "create", HOOK, "--secret-file", str(tmp_path / "secret"))
    assert made.code == 0 and own not in made.out
    endpoint = made.out.split()[0]
    assert said(relay, "endpoints", "secret", endpoint).out.strip() == own
    said(relay, "endpoints", "delete", endpoint)
