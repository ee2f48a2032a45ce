from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.net.guard import Blocked, Policy

DEFAULT = Policy(denied_hosts=frozenset({"relay.example.com", "198.41.0.4"}))
DEVELOPMENT = Policy(allow=(ip_network("127.0.0.0/8"),), ports=frozenset({443, 3000}))
PRIVATE = Policy(allow=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")), ports=None)


def refusal(policy: Policy, url: str) -> str:
    with pytest.raises(Blocked) as caught:
        policy.judge_url(url)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def test_public_https_passes() -> None:
    target = DEFAULT.judge_url("https://Example.com/hook?x=1")
    assert (target.url, target.host, target.port, target.inside_only) == (
        "https://example.com/hook?x=1",
        "example.com",
        443,
        False,
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "http://localhost:3000/hook?token=s3cret",
            "http://localhost:3000 is on this machine, which taskrelay does not call by default."
            " To allow it here: TASKRELAY_EGRESS__ALLOW=127.0.0.0/8 TASKRELAY_EGRESS__PORTS=443,3000",
        ),
        (
            "https://10.1.2.3/",
            "https://10.1.2.3 is on a private network, which taskrelay does not call by default."
            " To allow it here: TASKRELAY_EGRESS__ALLOW=10.1.2.3/32",
        ),
        (
            "https://[::1]/",
            "https://[::1] is on this machine, which taskrelay does not call by default."
            " To allow it here: TASKRELAY_EGRESS__ALLOW=::1/128",
        ),
        (
            "https://169.254.169.254/",
            "https://169.254.169.254 is a link-local or cloud metadata address, which taskrelay does not call by default.",
        ),
        (
            "https://example.com:8443/",
            "https://example.com:8443: port 8443 is not allowed. To allow it here: TASKRELAY_EGRESS__PORTS=443,8443",
        ),
        (
            "http://example.com/",
            "http://example.com is not encrypted; use https. Plain http is for addresses inside TASKRELAY_EGRESS__ALLOW",
        ),
        (
            "https://db.internal/",
            "db.internal is a name of a private network. To allow it here, put that network in TASKRELAY_EGRESS__ALLOW",
        ),
    ],
)
def test_refusal_says_what_would_allow_it(url: str, reason: str) -> None:
    assert refusal(DEFAULT, url) == reason


def test_refusal_does_not_show_what_else_the_operator_allows() -> None:
    reason = refusal(Policy(allow=(ip_network("10.0.0.0/8"),)), "http://127.0.0.1:3000/")
    assert reason.endswith("add 127.0.0.0/8 to TASKRELAY_EGRESS__ALLOW, and TASKRELAY_EGRESS__PORTS=443,3000")
    assert "10.0.0.0" not in reason


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://a.localhost/",
        "https://printer.local/",
        "https://local/",
        "https://a.internal/",
        "https://metadata.google.internal/",
        "https://METADATA.google.internal/",
        "https://relay.example.com/",
        "https://RELAY.example.com:443/v1",
        "https://198.41.0.4/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "http://93.184.216.34/",
        "https://example.com:80/",
        "https://example.com:22/",
    ],
)
def test_default_policy_refuses(url: str) -> None:
    refusal(DEFAULT, url)


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/", "https://localhost/", "http://127.0.0.1:3000/", "http://127.9.9.9:443/"]
)
def test_loopback_works_for_development(url: str) -> None:
    assert DEVELOPMENT.judge_url(url).inside_only


@pytest.mark.parametrize(
    "url", ["http://localhost:3001/", "http://10.0.0.1:3000/", "http://[::1]:3000/", "http://93.184.216.34:3000/"]
)
def test_development_opens_nothing_else(url: str) -> None:
    refusal(DEVELOPMENT, url)


AT_HOME = Policy(
    allow=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1/128")),
    ports=None,
    own_origins=frozenset({("10.0.0.5", 80), ("relay.internal", 8080)}),
    own_ports=frozenset({8080}),
)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1:8080/v1/tasks",
            "http://localhost:8080/",
            "http://a.localhost:8080/",
            "http://127.9.9.9:8080/",
        ),
        *("http://[::1]:8080/", "http://[::ffff:127.0.0.1]:8080/", "http://10.0.0.5/", "https://relay.internal:8080/"),
    ],
)
def test_the_service_itself_is_no_subscriber_inside_the_allowed_networks_either(url: str) -> None:
    assert "this service itself" in refusal(AT_HOME, url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000/", "http://localhost/", "http://10.0.0.5:8080/", "http://10.0.0.6/"]
)
def test_a_neighbour_on_the_same_host_is(url: str) -> None:
    assert AT_HOME.judge_url(url).inside_only


def test_a_name_that_leads_back_to_the_service_is_stopped_at_the_socket() -> None:
    assert AT_HOME.refuse_socket(ip_address("127.0.0.1"), 8080) == "this service itself"
    assert AT_HOME.refuse_socket(ip_address("10.0.0.5"), 80) == "this service itself"
    assert AT_HOME.refuse_socket(ip_address("127.0.0.1"), 8081) is None
    assert AT_HOME.refuse_socket(ip_address("192.168.0.1"), 443) is not None


def test_metadata_name_and_own_name_stay_refused_under_any_allow_list() -> None:
    everything = Policy(
        allow=(ip_network("0.0.0.0/0"), ip_network("::/0")), ports=None, denied_hosts=frozenset({"relay.example.com"})
    )
    refusal(everything, "http://metadata.google.internal/")
    refusal(everything, "https://relay.example.com/")
    assert everything.judge_url("https://169.254.169.254/").inside_only  # the operator's own word


@pytest.mark.parametrize("url", ["http://hooks.corp/", "http://svc.cluster.local:8080/x", "https://db.internal/"])
def test_names_that_need_an_allowed_network_are_judged_again_when_they_resolve(url: str) -> None:
    target = PRIVATE.judge_url(url)
    assert target.inside_only
    inside = PRIVATE.inside()
    assert inside.judge_answers(target.host, ["10.1.1.1", "fd00::1"]) == (ip_address("10.1.1.1"), ip_address("fd00::1"))
    for answers in (["93.184.216.34"], ["10.1.1.1", "93.184.216.34"], ["192.168.0.1"]):
        with pytest.raises(Blocked):
            inside.judge_answers(target.host, answers)


def test_one_forbidden_answer_condemns_all() -> None:
    assert DEFAULT.judge_answers("a.test", ["93.184.216.34"]) == (ip_address("93.184.216.34"),)
    for bad in ("169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "198.41.0.4", "nonsense"):
        with pytest.raises(Blocked):
            DEFAULT.judge_answers("a.test", ["93.184.216.34", bad])


def test_zone_is_refused_even_inside_an_allowed_network() -> None:
    assert Policy(allow=(ip_network("fe80::/10"),)).refuse_address(ip_address("fe80::1%eth0"))


def test_mapped_address_is_dialled_and_judged_as_ipv4() -> None:
    assert PRIVATE.judge_answers("a.test", ["::ffff:10.0.0.1"]) == (ip_address("10.0.0.1"),)


def test_localhost_keeps_the_allowed_half_of_its_addresses() -> None:
    assert DEVELOPMENT.judge_answers("localhost", ["::1", "127.0.0.1"]) == (ip_address("127.0.0.1"),)
    with pytest.raises(Blocked):
        DEFAULT.judge_answers("localhost", ["::1", "127.0.0.1"])


@given(st.text(max_size=60) | st.text(max_size=40).map("https://{}".format) | st.ip_addresses().map("http://{}".format))
def test_any_text_is_judged_without_surprise(text: str) -> None:
    for policy in (DEFAULT, DEVELOPMENT, PRIVATE):
        try:
            policy.judge_url(text)
        except Blocked as refused:
            assert refused.reason
