"""Every route of this dialect, as rows beside those of the API. What cannot be done is 400 here, not 422.

OpenAI answers 400 to a parameter it does not take, so code that was written against it catches `BadRequestError`.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api import auth, problems
from service.api.call import Answer, Call
from service.api.keyed import Row
from service.compat.openai import models, videos, webhooks
from service.core.request import Invalid

BASE = "/openai/v1"


def spoken(answer: Answer) -> Answer:
    """The same route with faults told as OpenAI tells them."""

    async def answered(call: Call) -> Response:
        try:
            return await answer(call)
        except Invalid as invalid:
            told = problems.of(invalid, call.context.base)
            raise problems.Problem("invalid_request", told.detail, faults=told.faults) from None

    return answered


_ROWS: tuple[Row, ...] = (
    ("POST", "/videos", auth.WRITE_TASKS, videos.create),
    ("GET", "/videos", auth.READ_TASKS, videos.page),
    ("GET", "/videos/{id}", auth.READ_TASKS, videos.one),
    ("DELETE", "/videos/{id}", auth.WRITE_TASKS, videos.delete),
    ("GET", "/videos/{id}/content", auth.READ_TASKS, videos.content),
    ("POST", "/videos/{id}/remix", auth.WRITE_TASKS, videos.not_offered),
    ("POST", "/videos/edits", auth.WRITE_TASKS, videos.not_offered),
    ("POST", "/videos/extensions", auth.WRITE_TASKS, videos.not_offered),
    ("POST", "/videos/characters", auth.WRITE_TASKS, videos.not_offered),
    ("GET", "/videos/characters/{name}", auth.READ_TASKS, videos.not_offered),
    ("GET", "/models", auth.ANYBODY, models.page),
    ("GET", "/models/{model:path}", auth.ANYBODY, models.one),
    ("POST", "/webhook_endpoints", auth.WRITE_ENDPOINTS, webhooks.create),
    ("GET", "/webhook_endpoints", auth.READ_ENDPOINTS, webhooks.page),
    ("GET", "/webhook_endpoints/{id}", auth.READ_ENDPOINTS, webhooks.one),
    ("POST", "/webhook_endpoints/{id}", auth.WRITE_ENDPOINTS, webhooks.change),
    ("DELETE", "/webhook_endpoints/{id}", auth.WRITE_ENDPOINTS, webhooks.delete),
    ("POST", "/webhook_endpoints/{id}/rotate_secret", auth.WRITE_ENDPOINTS, webhooks.rotate),
    ("POST", "/webhook_endpoints/{id}/test", auth.WRITE_ENDPOINTS, webhooks.test),
    ("GET", "/webhook_event_types", auth.ANYBODY, webhooks.types),
)
ROUTES: tuple[Row, ...] = tuple((method, BASE + path, scopes, spoken(answer)) for method, path, scopes, answer in _ROWS)
