"""How AceData reads POST /kling/tasks: one by `id`, many by `ids`, or a page of all of an account's by time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.sandbox.order import Fields, Refused, check_fields, is_text, is_whole

MOST_IDS = 50  # their MCP server recommends no more; a hard limit is not documented
PAGE, MOST_PAGE = 20, 100  # ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. `ids` None: all of them that the filters let through."""

    one: bool = False
    ids: tuple[str, ...] | None = None
    since: float = float("-inf")
    until: float = float("inf")
    limit: int = PAGE
    offset: int = 0


def _is_time(value: object) -> bool:
    return type(value) in (int, float)


FIELDS: Fields = {
    "created_at_min": (_is_time, "a number of seconds"),
    "created_at_max": (_is_time, "a number of seconds"),
    "limit": (is_whole(1, MOST_PAGE), f"a whole number from 1 to {MOST_PAGE}"),
    "offset": (is_whole(0, 1_000_000), "a whole number from 0"),
    "type": (is_text(100), "text"),
}


def read_wanted(body: Mapping[str, object]) -> Wanted:
    """Check the question. Raises `Refused`."""
    match body:
        case {"action": "retrieve", "id": str(job_id)} if job_id:
            return Wanted(one=True, ids=(job_id,))
        case {"action": "retrieve_batch", "ids": list(ids)}:
            if not 1 <= len(ids) <= MOST_IDS or not all(isinstance(job_id, str) for job_id in ids):
                raise Refused(f"ids must be a list of 1 to {MOST_IDS} texts", code="bad_request")
            return Wanted(ids=tuple(dict.fromkeys(ids)))
        case {"action": "retrieve_batch"}:
            return _page(body)
        case {"action": "retrieve"}:
            raise Refused("id is required", code="bad_request")
        case _:
            raise Refused("action must be retrieve or retrieve_batch", code="bad_request")


def _page(body: Mapping[str, object]) -> Wanted:
    try:
        check_fields(body, FIELDS, ())
    except Refused as error:
        raise Refused(str(error), code="bad_request") from error
    return Wanted(
        since=float(str(body.get("created_at_min", "-inf"))),
        until=float(str(body.get("created_at_max", "inf"))),
        limit=int(str(body.get("limit", PAGE))),
        offset=int(str(body.get("offset", 0))),
    )
