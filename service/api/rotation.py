"""What every rotation of a secret or a key has in common: for how long, and how many, old ones sign beside the new."""

from __future__ import annotations

from collections.abc import Mapping

from service.core.request import Fault

OVERLAP_DEFAULT, OVERLAP_MOST = 86_400, 7 * 86_400
OLD_MOST = 10


def overlap_of(body: Mapping[str, object], faults: list[Fault]) -> int:
    """The seconds that `overlap_seconds` asks for."""
    overlap = body.get("overlap_seconds", OVERLAP_DEFAULT)
    if type(overlap) is int and 0 <= overlap <= OVERLAP_MOST:
        return overlap
    detail = f"This must be a whole number of seconds from 0 to {OVERLAP_MOST}."
    faults.append(Fault(pointer="/overlap_seconds", detail=detail))
    return OVERLAP_DEFAULT
