"""A request that really arrived is compared with what the running service says it sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from service.cli.client import Api
from service.cli.sent import sent_as
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said, said_json
from tests.service.cli.processes import SECONDS
from tests.service.cli.receiver import Came, Receiver, receiving


def arrived(receiver: Receiver) -> Came:
    until = time.monotonic() + SECONDS
    while not receiver.came and time.monotonic() < until:
        time.sleep(0.05)
    return receiver.came[0]


def delivery_of(relay: Relay, event: str, endpoint: str) -> str:
    [found] = said_json(relay, "deliveries", "list", "--event", event, "--endpoint", endpoint)["data"]
    return str(found["id"])


def test_a_delivery_that_was_reencoded_is_told_with_the_bytes_that_were_sent(relay: Relay, tmp_path: Path) -> None:
    with receiving() as receiver:
        made = said_json(relay, "endpoints", "create", f"{receiver.url}/hook", "--format", "cloudevents",
                         "--signature", "v1", "--signature", "v1a")  # fmt: skip
        said(relay, "endpoints", "test", made["id"])
        _, _, headers, body = arrived(receiver)
    delivery = delivery_of(relay, headers["webhook-id"], made["id"])
    with Api(relay.url, relay.client["TASKRELAY_KEY"]) as api:
        sent = sent_as(api, delivery=delivery, event=None)
        assert sent.bodies == {"cloudevents": body}
        assert [at // 1_000_000 for at in sent.attempts_at] == [int(headers["webhook-timestamp"])]
        secret, public, *others = sent.secrets  # other tests may have made signing keys
        assert secret == made["secret"] and all(one.startswith("whpk_") for one in (public, *others))
        assert sent_as(api, delivery=None, event=headers["webhook-id"]).bodies["cloudevents"] == body
        with pytest.raises(Stop, match="not of"):
            sent_as(api, delivery=delivery, event="evt_" + "0" * 26)
    kept = tmp_path / "request"
    lines = "".join(f"{name}: {value}\n" for name, value in headers.items() if name != "content-length")
    kept.write_bytes(lines.encode() + b"\n" + body)
    assert said(relay, "verify", "--request", str(kept), "--delivery", delivery).out == "ok: The signature matches.\n"
    assert said(relay, "verify", "--request", str(kept), "--secret", public).code == 0
    kept.write_bytes(lines.encode() + b"\n" + json.dumps(json.loads(body), sort_keys=True).encode())
    ended = said(relay, "verify", "--request", str(kept), "--delivery", delivery)
    assert (ended.code, ended.out.split(":")[0]) == (1, "reencoded_body") and "another order" in ended.out
    other = said(relay, "verify", "--request", str(kept), "--delivery", delivery, "--secret", "whsec_" + "A" * 32)
    assert other.code == 1
    said(relay, "endpoints", "delete", made["id"])


def test_a_delivery_that_is_not_there_is_said_to_be_absent(relay: Relay) -> None:
    with Api(relay.url, relay.client["TASKRELAY_KEY"]) as api, pytest.raises(Stop, match="404"):
        sent_as(api, delivery="dlv_" + "0" * 26, event=None)
