"""What strangers and hostile senders bring to the callback door: tokens that are not ours, and bodies that are nobody's."""

from __future__ import annotations

import codecs
import gzip
import json
import string
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

CAP = 256 * 1024
KINDS = ("cloudsway", "acedata", "ulazai", "apiinone")
APPENDED = [
    *("!!", "=", "==", "é", " ", "\t", "\n", "\r\n", "\0", "%00", "%21", ".", "/", "//", "?", "#", "A", "-"),
    *("\ud800", "\U0001d7d8"),  # half a character, and a digit that looks like one
]


@st.composite
def bad_paths(draw: st.DrawFn, ours: Mapping[str, str], foreign: Sequence[str]) -> str:
    """A path under /callbacks/ whose token is not ours for that provider. `ours`: the good ones; `foreign`: made for something else."""
    good = ours["cloudsway"]
    others = [*foreign, *(token for token in ours.values() if token != good)]
    provider = draw(
        st.sampled_from(["cloudsway"] * 5 + [*KINDS[1:], "klingon", "", "Cloudsway", "cloudsway%20", "..", "é"])
    )
    kinds = ["whole", "cut", "flip", "last", "add", "before", "within", "long", "other", "parts", "case", "any", "form"]
    match draw(st.sampled_from(kinds)):
        case "whole":
            token = good
        case "last":
            token = good[:-1] + draw(st.sampled_from(string.ascii_letters + string.digits + "-_"))
        case "cut":
            start = draw(st.integers(0, len(good)))
            token = good[start : draw(st.integers(start, len(good)))]
        case "flip":
            place, bit = draw(st.integers(0, len(good) - 1)), draw(st.integers(0, 7))
            token = good[:place] + chr(ord(good[place]) ^ (1 << bit)) + good[place + 1 :]
        case "add":
            token = good + "".join(draw(st.lists(st.sampled_from(APPENDED), min_size=1, max_size=3)))
        case "before":
            token = draw(st.sampled_from(APPENDED)) + good
        case "within":
            place = draw(st.integers(1, len(good) - 1))
            token = good[:place] + draw(st.sampled_from(APPENDED)) + good[place:]
        case "long":
            token = good * draw(st.integers(2, 60))
        case "other":
            token = draw(st.sampled_from(others))
        case "parts":
            first, second = draw(st.sampled_from([good, *others])), draw(st.sampled_from([good, *others]))
            pieces = [draw(st.sampled_from(pair)) for pair in zip(first.split("."), second.split("."), strict=True)]
            token = ".".join(pieces)
        case "case":
            token = draw(st.sampled_from([good.lower(), good.upper(), good.swapcase(), quote(good, safe=".") + "%"]))
        case "form":
            token = draw(
                st.from_regex(r"v1\.[0-9A-Z]{8}\.[\w-]{1,64}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", fullmatch=True)
            )
        case _:
            token = draw(st.text(max_size=250))
    if token == ours.get(provider):
        token = f"{token}x"
    return f"/callbacks/{provider}/{token}"


# Bodies

URL = "https://evil.example/v.mp4"
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["\x00", "\ud800", "a\u202eb", "x" * 3000, "1e999999999", "NaN", "0x10", "9" * 5000, "-0", URL, "\x1b[31m"]
    ),
    st.sampled_from(["succeeded", "succeed", "failed", "processing", "completed", "job-1", "18", "finished"]),
)
KEYS = """
    id task_id status task_status state external_id outputs url video_url data response success error code message billing amount
    charge_type task_info task_result videos progress finished_at started_at request trace_id type duration
"""
NAMES = st.sampled_from(KEYS.split())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=15
)


def pushed(task: str, job: str, status: str = "succeeded") -> dict[str, Any]:
    """A body as any of the four contracts might find it readable."""
    output = {"type": "video", "url": URL, "duration": "5"}
    return {
        "id": job, "task_id": job, "status": status, "state": status, "external_id": task, "outputs": [output],
        "success": status == "succeeded", "video_url": URL, "output": {"video_url": URL}, "result": {"video_url": URL},
    }  # fmt: skip


class Body(bytes):
    """Bytes that a failing test does not print by the quarter of a megabyte."""

    def __repr__(self) -> str:
        return (
            repr(bytes(self))
            if len(self) < 2000
            else f"<{len(self)} bytes: {bytes(self[:300])!r} … {bytes(self[-100:])!r}>"
        )


def bodies(task: str, job: str) -> st.SearchStrategy[bytes]:
    """A hostile body, for a door that would believe a readable one about this task and job."""
    return _bodies(task, job).map(Body)


@st.composite
def _bodies(draw: st.DrawFn, task: str, job: str) -> bytes:
    said = pushed(task, job, draw(st.sampled_from(["succeeded", "failed", "processing"])))
    text = json.dumps(said)
    match draw(st.integers(0, 13)):
        case 0:
            return text.encode()[: draw(st.integers(0, len(text) - 1))]
        case 1:
            opening = draw(st.sampled_from(["[", '{"a":', "[{", '{"id":[']))
            return (opening * draw(st.sampled_from([33, 1000, 100_000])))[:CAP].encode()
        case 2:
            return text.replace(
                '"success": ', f'"progress": {draw(st.sampled_from(["NaN", "Infinity", "-Infinity"]))}, "success": '
            ).encode()
        case 3:
            return text.encode(
                draw(st.sampled_from(["utf-16", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig", "utf-7"]))
            )
        case 4:
            return (
                draw(st.sampled_from([codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\0", b"\xff", b"\xed\xa0\x80"]))
                + text.encode()
            )
        case 5:
            said[draw(st.sampled_from(sorted(said)))] = draw(
                st.sampled_from(["\ud800", "\x00", "a\x00b", "\udfff\ud800"])
            )
            return json.dumps(said).encode()
        case 6:
            digits = draw(
                st.sampled_from(["9" * 5000, "-" + "1" * 5000, "1e" + "9" * 400, "0." + "3" * 5000, "1" * 4301])
            )
            return (
                json.dumps(said | {"progress": 1})
                .replace('"progress": 1', f'"progress": {digits}, "code": {digits}')
                .encode()
            )
        case 7:
            name = draw(st.sampled_from(sorted(said)))
            return (text[:-1] + f", {json.dumps(name)}: {json.dumps(draw(LEAVES), default=str)}}}").encode(
                errors="replace"
            )
        case 8:
            filler = CAP + draw(st.integers(-2, 1)) - len(text)
            return (text[:-1] + " " * filler + "}").encode()
        case 9:
            return draw(st.binary(max_size=200))
        case 10:
            return draw(
                st.sampled_from(
                    [b"", b" ", b"null", b"[]", b"{}", b"0", b'""', b"true", b"--", b"id=1&status=succeeded"]
                )
            )
        case 11:
            return json.dumps(draw(VALUES), default=str).encode(errors="replace")
        case 12:
            for name in draw(st.lists(st.sampled_from(sorted(said)), max_size=4)):
                said[name] = draw(VALUES)
            return json.dumps(said, default=str).encode()
        case _:
            return json.dumps({"data": [said] * draw(st.sampled_from([1, 2, 3000]))}).encode()[:CAP]


CONTENT = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "é",
    "x" * 500,
    "",
]
SIGNATURES = ["v1,", "v1,é", "v1,AAAA", "v2,x", "v1a,x " * 40, "", "\xff", "v1," + "A" * 43, "v1," + "A" * 44, " " * 50]
STAMPS = ["0", "-1", "9" * 13, "9" * 400, "NaN", "1790000000", "٣", "", "1e9"]
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("content-type"), st.sampled_from(CONTENT)),
        st.tuples(
            st.just("content-length"),
            st.sampled_from(["0", "-1", "5", "9" * 30, "262145", "262144", "x", "1, 2", "+5", "²"]),
        ),
        st.tuples(st.just("webhook-id"), st.sampled_from(["msg_1", "a.b", "", "é", "x" * 300])),
        st.tuples(st.just("webhook-timestamp"), st.sampled_from(STAMPS)),
        st.tuples(st.just("webhook-signature"), st.sampled_from(SIGNATURES)),
        st.tuples(
            st.text(st.characters(codec="latin-1"), max_size=12), st.text(st.characters(codec="latin-1"), max_size=12)
        ),
    ),
    max_size=6,
).map(
    lambda pairs: [
        (name.lower().encode("latin-1", "ignore"), value.encode("latin-1", "ignore")) for name, value in pairs
    ]
)


def encoded(body: bytes, coding: str) -> bytes:
    """The body as a content coding would have it, or as it is where we know none."""
    if coding == "gzip":
        return gzip.compress(body * 100)
    return zlib.compress(body) if coding == "deflate" else body


ENCODINGS = st.sampled_from(["gzip", "deflate", "br", "identity", "IDENTITY", " identity ", "identity, gzip", "x", ""])
