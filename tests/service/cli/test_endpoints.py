from __future__ import annotations

from tests.service.cli.conftest import Relay
from tests.service.cli.processes import run, run_json

HOOK = "http://127.0.0.1:9/hook"


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
    first, events, secret, why = shown.stdout.splitlines()
    assert first.endswith(HOOK) and "task.succeeded" in events
    assert secret.split()[1].startswith("whsec_") and "Verify every event" in why
    run("endpoints", "delete", first.split()[0], cwd=relay.folder, settings=relay.client)


def test_a_url_that_may_not_be_called_is_refused_with_its_field(relay: Relay) -> None:
    refused = run("endpoints", "create", "https://169.254.169.254/", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and refused.stderr.startswith("422 /url  ")
    refused = run("endpoints", "create", HOOK, "--event", "task.succeded", cwd=relay.folder, settings=relay.client)
    assert refused.returncode == 1 and "task.succeeded" in refused.stderr
