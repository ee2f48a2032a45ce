"""The form parser: what clients send is read, what is odd is refused, and nothing raises anything else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.multipart import Form, Part, read_form, read_parts
from service.api.problems import Problem
from service.core.request import Invalid

TYPE = "multipart/form-data; boundary=b0"
FILE = b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
FIELD = b'--b0\r\nContent-Disposition: form-data; name="account"\r\n\r\n'
END = b"\r\n--b0--\r\n"


async def read(body: bytes, type: str = TYPE, *, most: int = 1000, **headers: str) -> Form:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    named = {"content-type": type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {"type": "http", "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()]}
    return await read_form(
        Request(scope, receive), file="file", fields=frozenset({"account", "provider"}), most=most, seconds=5
    )


@pytest.mark.parametrize(
    "type",
    [
        TYPE,
        'multipart/form-data; boundary="b0"',
        "Multipart/Form-Data;boundary=b0",
        "multipart/form-data;charset=UTF-8;boundary=b0",  # Spring's RestTemplate
        "multipart/form-data; boundary=b0; charset=utf-8",  # Apache's HttpClient, told of a charset
    ],
)
async def test_a_form_as_clients_write_it(type: str) -> None:
    for body in (FILE + b"xyz\r\n" + FIELD + b"main" + END, FIELD + b"main\r\n" + FILE + b"xyz\r\n--b0--"):
        form = await read(body, type)
        assert (form.file, form.fields) == (b"xyz", {"account": "main"})


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="file"; filename="\xe2\x82\xac.png"',
        b'content-disposition:form-data;name="file";filename="a\\"b.png"',
        b'Content-Disposition: form-data; name="file"; filename="a"; filename*=UTF-8\'\'a',
        b'Content-Disposition: form-data; name="file"\r\nContent-Length: 1\r\nContent-Transfer-Encoding: binary',
        b"Content-Disposition: form-data; name=file; filename=a.png; filename*=utf-8''a.png",  # .NET's HttpClient
        b'Content-Disposition: form-data; name=file; filename="a boat.png"',
    ],
)
async def test_the_ways_of_naming_a_file(head: bytes) -> None:
    assert (await read(b"--b0\r\n" + head + b"\r\n\r\nx" + END)).file == b"x"


@given(st.binary(max_size=300))
async def test_any_bytes_without_the_boundary_arrive_whole(content: bytes) -> None:
    if b"\r\n--b0" not in content:
        assert (await read(FILE + content + END)).file == content


@pytest.mark.parametrize(
    ("type", "code"),
    [
        ("application/json", "unsupported_media_type"),
        ("multipart/form-data", "unsupported_media_type"),
        ("multipart/mixed; boundary=b0", "unsupported_media_type"),
        ("multipart/form-data; boundary=" + "b" * 71, "unsupported_media_type"),
        ("multipart/form-data; boundary=b0; charset=x", "unsupported_media_type"),
        ("multipart/form-data; boundary=b0; boundary=b0", "unsupported_media_type"),
        ("multipart/form-data; boundary=b0; charset=utf-8; charset=utf-8", "unsupported_media_type"),
        ("multipart/form-data; boundary=b0; odd=1", "unsupported_media_type"),
        ("multipart/form-data; charset=utf-8", "unsupported_media_type"),
        ('multipart/form-data; boundary=""', "unsupported_media_type"),
        ("multipart/form-data; boundary=b0 b1", "unsupported_media_type"),
    ],
)
async def test_what_is_no_form_is_415(type: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        await read(FILE + b"x" + END, type)
    assert refused.value.code == code


async def test_an_encoded_body_is_415() -> None:
    with pytest.raises(Problem) as refused:
        await read(FILE + b"x" + END, content_encoding="gzip")
    assert refused.value.code == "unsupported_media_type"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b0",
        b"preamble\r\n" + FILE + b"x" + END,
        FILE + b"x" + END + b"epilogue",
        FILE + b"x",
        FILE + b"x\r\n--b0",
        FILE + b"x\r\n--b0x" + END,
        b"--b0\r\n\r\nx" + END,
        b"--b0\r\nContent-Disposition: form-data; name=fi le\r\n\r\nx" + END,
        b'--b0\r\nContent-Disposition: form-data; name=fi"le\r\n\r\nx' + END,
        b"--b0\r\nContent-Disposition: form-data; name=\r\n\r\nx" + END,
        b"--b0\r\nContent-Disposition: form-data; name=file; filename=a b.png\r\n\r\nx" + END,
        b"--b0\r\nContent-Disposition: form-data; name=account; name=file\r\n\r\nx" + END,
        b'--b0\r\nContent-Disposition: attachment; name="file"\r\n\r\nx' + END,
        b'--b0\r\nContent-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64\r\n\r\neA==' + END,
        b'--b0\r\nContent-Disposition: form-data; name="file"\r\nX-Odd: 1\r\n\r\nx' + END,
        b'--b0\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: a\r\n'
        + b"C" * 5000
        + b"\r\n\r\nx"
        + END,
        b'--b0\r\nContent-Disposition: form-data; name="file"\r\nContent-Disposition: form-data; name="account"\r\n\r\nx'
        + END,
        (FIELD + b"x\r\n") * 9 + b"--b0--",
    ],
)
async def test_a_form_that_is_odd_is_400_and_never_repaired(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        await read(body)
    assert refused.value.code == "malformed_form"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (FILE + b"x\r\n" + FILE + b"y" + END, "/file"),
        (FIELD + b"x\r\n" + FIELD + b"y" + END, "/account"),
        (FIELD + b"\x00" + END, "/account"),
        (FIELD + b"x" * 201 + END, "/account"),
        (FIELD + END, "/account"),
        (b'--b0\r\nContent-Disposition: form-data; name="evil\x1b"\r\n\r\nx' + END, "/evil\ufffd"),
    ],
)
async def test_a_field_that_is_wrong_is_named(body: bytes, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        await read(body)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


async def test_the_size_is_bounded_by_what_is_stated_and_by_what_comes() -> None:
    for headers in ({}, {"content_length": "999999"}):
        with pytest.raises(Problem) as refused:
            await read(FILE + b"x" * 20_000 + END, most=1000, **headers)
        assert refused.value.code == "too_large"
    with pytest.raises(Problem) as refused:
        await read(FILE + b"x" * 1001 + END, most=1000)
    assert refused.value.code == "too_large"
    assert (await read(FILE + b"x" * 1000 + END, most=1000)).file == b"x" * 1000


async def test_a_body_that_does_not_arrive_is_408() -> None:
    async def receive() -> dict[str, object]:

        await asyncio.Event().wait()
        return {}

    scope = {"type": "http", "headers": [(b"content-type", TYPE.encode())]}
    with pytest.raises(Problem) as refused:
        await read_form(Request(scope, receive), file="file", fields=frozenset(), most=10, seconds=0.01)
    assert refused.value.code == "too_slow"


@given(st.binary(max_size=300), st.integers(0, 200))
async def test_no_body_raises_anything_else(noise: bytes, at: int) -> None:
    whole = FILE + b"xyz\r\n" + FIELD + b"main" + END
    for body in (noise, b"--b0" + noise, whole[:at] + noise + whole[at:]):
        with contextlib.suppress(Problem, Invalid):
            await read(body)


async def test_parts_are_told_as_they_came_and_counted() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": FILE + b"xyz\r\n" + FIELD + b"main" + END, "more_body": False}

    async def parts(many: int) -> list[Part]:
        scope = {"type": "http", "headers": [(b"content-type", TYPE.encode())]}
        return await read_parts(Request(scope, receive), most=1000, beside=1000, many=many, seconds=5)

    assert await parts(2) == [Part("file", True, b"xyz"), Part("account", False, b"main")]
    with pytest.raises(Problem) as refused:
        await parts(1)
    assert refused.value.code == "malformed_form"


@pytest.mark.parametrize(
    ("file", "field", "what"), [(500, 300, None), (501, 1, "file"), (1, 500, "beside"), (0, 700, "beside")]
)
async def test_the_file_and_what_stands_beside_it_have_each_their_own_bound(
    file: int, field: int, what: str | None
) -> None:
    body = FILE + b"x" * file + b"\r\n" + FIELD + b"y" * field + END

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "headers": [(b"content-type", TYPE.encode())]}
    reading = read_parts(Request(scope, receive), most=500, beside=500, many=9, seconds=5)
    if what is None:
        assert [len(part.content) for part in await reading] == [file, field]
        return
    with pytest.raises(Problem, match=what) as refused:
        await reading
    assert refused.value.code == "too_large"
