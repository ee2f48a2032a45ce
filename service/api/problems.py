"""Errors as clients see them: RFC 9457, with an `error` member beside it so that OpenAI's SDKs show the text.

Two tables: what each code means, and which exception becomes which code. Nothing else knows a status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.core.json_text import Malformed
from service.core.request import Fault, Invalid, shown
from service.pipeline.create import ReferenceTaken
from service.pipeline.spending import NotAllowed, PriceUnknown
from storage.errors import Duplicate, StorageError

OPEN_RETRY_SECONDS = 10  # jobs take minutes: when one ends nobody knows
TOLD = 10  # faults spelled out in the text; `errors` has them all
NOWHERE = (
    "There is nothing at this path. Paths look like /v1/tasks, without a slash at the end; docs/api.md lists them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One code. `lasting`: the same request will fail again, which SDKs would otherwise try on a 409."""

    status: int
    title: str
    type: str  # in OpenAI's words
    lasting: bool = False


CODES: Mapping[str, Kind] = {
    "malformed_request": Kind(status=400, title="This is not a request that we read", type="invalid_request_error"),
    "malformed_json": Kind(status=400, title="The body cannot be read", type="invalid_request_error"),
    "malformed_form": Kind(status=400, title="The form cannot be read", type="invalid_request_error"),
    "malformed_idempotency_key": Kind(
        status=400, title="The Idempotency-Key cannot be read", type="invalid_request_error"
    ),
    "invalid_request": Kind(status=400, title="The request is not valid", type="invalid_request_error"),
    "endpoint_unreachable": Kind(status=400, title="The endpoint did not answer", type="invalid_request_error"),
    "unauthorized": Kind(status=401, title="No valid API key", type="authentication_error"),
    "budget_exhausted": Kind(status=402, title="The budget is used up", type="insufficient_quota", lasting=True),
    "missing_scope": Kind(status=403, title="The API key may not do this", type="permission_error"),
    "not_found": Kind(status=404, title="Not found", type="not_found_error"),
    "not_offered": Kind(status=404, title="Not offered here", type="not_found_error"),
    "method_not_allowed": Kind(status=405, title="Method not allowed", type="invalid_request_error"),
    "too_slow": Kind(status=408, title="The body came too slowly", type="invalid_request_error"),
    "reference_taken": Kind(status=409, title="The reference is taken", type="conflict_error", lasting=True),
    "cannot_cancel": Kind(status=409, title="The task cannot be canceled", type="conflict_error", lasting=True),
    "cannot_erase": Kind(status=409, title="The task cannot be erased yet", type="conflict_error", lasting=True),
    "cannot_reconcile": Kind(status=409, title="There is nothing to ask after", type="conflict_error", lasting=True),
    "cannot_resolve": Kind(status=409, title="There is nothing to settle so", type="conflict_error", lasting=True),
    "output_not_ready": Kind(status=409, title="The output is not ready", type="conflict_error", lasting=True),
    "job_taken": Kind(status=409, title="The job belongs to another task", type="conflict_error", lasting=True),
    "project_name_taken": Kind(status=409, title="The name is taken", type="conflict_error", lasting=True),
    "project_in_use": Kind(status=409, title="The project holds something", type="conflict_error", lasting=True),
    "last_admin_key": Kind(status=409, title="The last key with admin", type="conflict_error", lasting=True),
    "idempotency_key_in_use": Kind(status=409, title="The first request is still worked on", type="conflict_error"),
    "endpoint_limit": Kind(status=409, title="Too many endpoints", type="conflict_error", lasting=True),
    "endpoint_inactive": Kind(status=409, title="The endpoint is not sent to", type="conflict_error", lasting=True),
    "events_gone": Kind(status=410, title="Events that followed are gone", type="not_found_error"),
    "account_disabled": Kind(status=409, title="The account is switched off", type="conflict_error", lasting=True),
    "answer_erased": Kind(status=410, title="Done before, and erased since", type="not_found_error"),
    "output_gone": Kind(status=410, title="The output is gone", type="not_found_error"),
    "too_large": Kind(status=413, title="The body is too large", type="invalid_request_error"),
    "unsupported_media_type": Kind(status=415, title="Unsupported media type", type="invalid_request_error"),
    "idempotency_key_reused": Kind(
        status=422, title="The Idempotency-Key belongs to another request", type="invalid_request_error"
    ),
    "invalid": Kind(status=422, title="The request is not valid", type="invalid_request_error"),
    "price_unknown": Kind(status=422, title="The price is not known", type="invalid_request_error"),
    "too_many_open_tasks": Kind(status=429, title="Too many open tasks", type="rate_limit_error"),
    "too_many_wrong_keys": Kind(status=429, title="Too many wrong keys", type="rate_limit_error"),
    "rate_limited": Kind(status=429, title="Too many requests", type="rate_limit_error"),
    "too_many_connections": Kind(status=429, title="Too many connections", type="rate_limit_error"),
    "too_soon": Kind(status=429, title="Too soon", type="rate_limit_error"),
    "too_many_streams": Kind(status=429, title="Too many streams", type="rate_limit_error"),
    "internal": Kind(status=500, title="Internal error", type="server_error"),
    "upload_failed": Kind(status=502, title="The provider did not take the file", type="server_error"),
    "output_unavailable": Kind(status=503, title="No link to the output just now", type="server_error"),
    "unavailable": Kind(status=503, title="Unavailable for the moment", type="server_error"),
}


class Problem(Exception):
    """An answer that is not what was asked for. `extra`: further members of the body."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = CODES[code]
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def of(error: Exception, base: str) -> Problem:
    """The problem an exception is. Whatever is not foreseen says nothing of itself to strangers."""
    match error:
        case Problem():
            return error
        case Invalid():
            return Problem("invalid", _listed(error.faults), faults=error.faults)
        case PriceUnknown():
            return Problem("price_unknown", _listed(error.faults), faults=error.faults)
        case NotAllowed():
            return _not_allowed(error)
        case Malformed():
            return Problem("malformed_json", error.detail)
        case ReferenceTaken():
            return _reference_taken(error, base)
        case StorageError() if not isinstance(error, Duplicate):
            detail = "This could not be stored or read just now. Nothing was done; try again."
            return Problem("unavailable", detail, headers={"retry-after": "1"})
        case HTTPException(status_code=404):
            return Problem("not_found", NOWHERE)
        case HTTPException(status_code=405):
            allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))  # Starlette's is a set's
            return Problem("method_not_allowed", f"This path takes {allow}.", headers={"allow": allow})
        case _:
            return Problem(
                "internal", "Something went wrong here, and was noted. Quote request_id when you ask about it."
            )


def _not_allowed(error: NotAllowed) -> Problem:
    """With what there is, so that nobody has to ask for it."""
    headers = {"retry-after": str(OPEN_RETRY_SECONDS)} if CODES[error.code].status == 429 else {}
    return Problem(error.code, str(error), headers=headers, extra=error.balance.view(error.at))


def _reference_taken(error: ReferenceTaken, base: str) -> Problem:
    existing = error.existing
    link = f"{base}/v1/tasks/{existing.id}"
    detail = f"{shown(error.reference)} belongs to {existing.id} ({existing.status}). GET /v1/tasks/{existing.id}"
    return Problem("reference_taken", detail, extra={"existing": existing.id, "links": {"existing": link}})


def _listed(faults: Sequence[Fault]) -> str:
    told = [f"{fault.pointer} {fault.detail}".strip() for fault in faults[:TOLD]]
    more = [f"… and {len(faults) - TOLD} more, see errors."] if len(faults) > TOLD else []
    return " ".join([*told, *more])


def render(problem: Problem, request_id: str, base: str) -> Response:
    """The response. One body serves readers of problem+json and of OpenAI's errors."""
    kind = problem.kind
    headers = dict(problem.headers)
    if kind.lasting:
        headers["x-should-retry"] = "false"
    param = problem.faults[0].pointer.lstrip("/").replace("/", ".") if problem.faults else None
    body = {
        "type": f"{base}/docs/problems#{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in problem.faults],
        "request_id": request_id,
        **problem.extra,
        "error": {"message": problem.detail, "type": kind.type, "param": param or None, "code": problem.code},
    }
    return Response(orjson.dumps(body), kind.status, headers, media_type="application/problem+json")
