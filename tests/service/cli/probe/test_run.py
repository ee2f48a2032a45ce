"""One job at each contract of the sandbox: what held, what differs where the sandbox departs from the documents, what is written."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.service.cli.probe.scene import Prober
from tests.service.providers import builders
from tests.service.providers.test_contract import read, sound

BUY = ("--spend-up-to", "200", "--yes", "--listen", "0.6", "--json")
SHAPES = {
    "cloudsway": ({"batch", "lookup-found", "push-1", "push-2", "push-3", "submit-ok", "succeeded"}, ()),
    "acedata": ({"batch", "lookup-found", "push-1", "submit-ok", "succeeded"}, ()),
    "ulazai": ({"submit-ok", "succeeded"}, ("--model", "kling-3.0")),
    "ulazai-2.6": ({"submit-ok", "succeeded"}, ()),
    "apiinone": ({"submit-ok", "succeeded"}, ()),
}


@pytest.mark.parametrize("contract", [
    name if name == "cloudsway" else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES
])  # fmt: skip
def test_every_contract_as_documented_holds_and_leaves_samples_that_its_suite_takes(
    contract: str, prober: Prober, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, arguments = SHAPES[contract]
    account = contract.partition("-")[0]
    ended = prober.probe(account, *arguments, *BUY)
    document = ended.out[ended.out.index("{") :]
    found = json.loads(document)
    assert ended.code == 0, document
    assert found["status"] == "succeeded"
    assert {fact["verdict"] for fact in found["facts"]} <= {"held", "new", "not seen"}
    held = {fact["name"] for fact in found["facts"] if fact["verdict"] == "held"}
    assert "an id that nobody has" in held
    assert {"look-up by our id or URL", "two ids in one query", "pushes for one job"} <= held or account not in (
        "cloudsway",
        "acedata",
    )
    assert wanted <= {Path(name).stem for name in found["samples"]}
    _suite_takes(account, found["samples"], tmp_path, monkeypatch)
    written = "".join(Path(name).read_text() for name in found["samples"])
    for secret in (
        prober.key,
        "my-own-path",
        "red ball",
        prober.settings["TASKRELAY_PUBLIC_URL"],
        "ksTime",
        found["task"],
    ):
        assert secret not in written


def _suite_takes(account: str, files: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract suite's own reading of the files gives what they say is expected."""
    (folder / "samples" / account).mkdir(parents=True)
    for name in files:
        (folder / "samples" / account / Path(name).name).write_bytes(Path(name).read_bytes())
    monkeypatch.setattr(builders, "SAMPLES", folder / "samples")
    for sample in builders.samples(account):
        seen = read(sample)
        sound(seen)
        assert seen.claim.value == sample.expect["claim"], sample.name
        assert seen.provider_task_id == sample.expect.get("provider_task_id"), sample.name
        assert [output.url for output in seen.outputs] == sample.expect.get("outputs", []), sample.name


@pytest.mark.slow
def test_where_the_sandbox_departs_from_the_documents_that_fact_differs_and_no_other(prober: Prober) -> None:
    prober.order(contract="cloudsway", faults="no-push")
    ended = prober.probe("cloudsway", *BUY)
    found = json.loads(ended.out)
    differs = [
        (fact["name"], fact["documented"], fact["seen"]) for fact in found["facts"] if fact["verdict"] == "differs"
    ]
    assert differs == [("pushes for one job", "1 to 3", "0")]
    assert ended.code == 1 and found["status"] == "succeeded"
    again = prober.probe("cloudsway", *BUY).found
    assert again["task"] == found["task"]  # the same folder: the same job, nothing bought again


@pytest.mark.slow
def test_an_unknown_word_differs_by_name_for_a_person(prober: Prober) -> None:
    prober.order(contract="cloudsway", faults="unknown-word")
    ended = prober.probe("cloudsway", *BUY[:-1])
    assert ended.code == 1
    [line] = [line for line in ended.out.splitlines() if line.startswith("differs")]
    assert "status words" in line and "Something differs: the adapter may misread it" in ended.out


@pytest.mark.slow
def test_a_refused_job_is_told_and_leaves_no_facts(prober: Prober) -> None:
    prober.order(contract="cloudsway", faults="refuse")
    ended = prober.probe("cloudsway", *BUY)
    assert ended.code == 1 and ended.found["status"] == "failed" and ended.found["facts"] == []
    assert ended.found["why"]


def test_beside_a_serving_process_it_says_what_to_do_and_buys_nothing(prober: Prober) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        prober.settings["TASKRELAY_PORT"] = str(taken.getsockname()[1])
        ended = prober.probe("cloudsway", *BUY)
    assert ended.code == 1 and "Is serve running?" in ended.why and prober.bought() == 0
