from __future__ import annotations

import asyncio
import socket
import time

import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.sandbox.jobs import Knobs, Push
from service.sandbox.postman import Postman, signed_headers
from service.sandbox.serve import serve
from service.sandbox.subscriber import Subscriber
from tests.service.sandbox.conftest import SECRET, HandClock

# The example of Kling's callbacks page.
VECTOR = Push(
    webhook_id="9876543210",
    word="succeeded",
    at=0,
    body=b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}',
)


def push() -> Push:
    return Push(webhook_id="p1", word="submitted", at=0, body=orjson.dumps({"status": "submitted"}))


def test_signature_is_that_of_klings_own_example() -> None:
    assert signed_headers(VECTOR, SECRET, 1_781_080_794) == {
        "webhook-id": "9876543210",
        "webhook-timestamp": "1781080794",
        "webhook-signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
    }


def test_signature_satisfies_the_published_library() -> None:
    headers = signed_headers(push(), SECRET, int(time.time()))
    Webhook(SECRET).verify(push().body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(push().body + b" ", headers)


async def test_push_is_not_retried_unless_told_to(receiver: Subscriber, callback_url: str, clock: HandClock) -> None:
    postman, sent = Postman(clock, clock.sleep), push()
    receiver.answers.status, receiver.answers.times = 500, 1
    await postman.deliver(sent, callback_url, Knobs())
    await postman.close()
    assert [attempt.status for attempt in sent.attempts] == [500]


async def test_retries_go_on_until_the_first_2xx(receiver: Subscriber, callback_url: str, clock: HandClock) -> None:
    postman, sent = Postman(clock, clock.sleep), push()
    receiver.answers.status, receiver.answers.times = 500, 1
    delivery = asyncio.create_task(postman.deliver(sent, callback_url, Knobs(push_retries=5, push_retry_seconds=9)))
    await clock.move(9)
    await delivery
    await postman.close()
    assert [attempt.status for attempt in sent.attempts] == [500, 204]
    assert sent.attempts[1].at - sent.attempts[0].at == 9
    assert len({received.sha256 for received in receiver.received}) == 1


async def test_redirect_is_an_answer_and_not_followed(
    receiver: Subscriber, callback_url: str, clock: HandClock
) -> None:
    postman, sent = Postman(clock, clock.sleep), push()
    receiver.answers.status, receiver.answers.times, receiver.answers.headers = 307, 1, {"location": callback_url}
    await postman.deliver(sent, callback_url, Knobs())
    await postman.close()
    assert [attempt.status for attempt in sent.attempts] == [307]
    assert len(receiver.received) == 1


async def test_silent_receiver_costs_the_time_limit_and_no_more(
    receiver: Subscriber, callback_url: str, clock: HandClock
) -> None:
    postman, sent = Postman(clock, clock.sleep), push()
    receiver.answers.status, receiver.answers.times = None, 1
    await postman.deliver(sent, callback_url, Knobs(push_timeout_seconds=0.05))
    await postman.close()
    assert [(attempt.status, attempt.error) for attempt in sent.attempts] == [(None, "TimeoutError")]


async def test_receiver_that_is_not_there_is_a_failure_with_a_name(clock: HandClock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/hook"
        postman, sent = Postman(clock, clock.sleep), push()
        await postman.deliver(sent, nobody, Knobs())
        await postman.deliver(sent, "http://", Knobs())
        await postman.close()
    assert [(attempt.status, attempt.error) for attempt in sent.attempts] == [
        (None, "ClientConnectorError"),
        (None, "InvalidUrlClientError"),
    ]


async def test_push_never_waits_for_another_receiver(receiver: Subscriber, callback_url: str, clock: HandClock) -> None:
    slow = Subscriber(SECRET)
    slow.answers.status, slow.answers.times = None, 1
    postman = Postman(clock, clock.sleep)
    async with await serve(slow) as elsewhere, asyncio.timeout(30):
        hanging = asyncio.create_task(postman.deliver(push(), elsewhere.url, Knobs()))
        await slow.until(1)
        await postman.deliver(push(), callback_url, Knobs())
        assert not hanging.done()
    await hanging
    await postman.close()
