"""/v1/uploads: an image that has no URL of its own yet gets one, at the provider that will use it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.context import Context
from service.api.multipart import read_form
from service.api.problems import Problem
from service.api.query import Query
from service.core.images import NotAnImage
from service.core.request import Fault, Invalid
from service.net.guard import NetError
from service.pipeline.accounts import AccountDesk
from service.pipeline.upload import Uploaded, account_for, upload
from service.providers.base import ProviderError

FIELDS = frozenset({"account", "provider"})
PUBLIC = "The URL is public: whoever has it can see the image. The provider decides how long it lives."


async def create(call: Call) -> Response:
    """POST /v1/uploads"""
    Query(call.request, ()).settle()
    with room(call.context):
        return await _create(call)


@contextmanager
def room(context: Context) -> Iterator[None]:
    """One of the few places for a file: each is held in memory."""
    under_way, most = context.uploading, context.limits.uploads
    if len(under_way) >= most:
        detail = f"{most} files are being uploaded just now. Send it again in a few seconds."
        raise Problem("unavailable", detail, headers={"retry-after": "5"})
    mark = object()
    under_way.add(mark)
    try:
        yield
    finally:
        under_way.discard(mark)


async def _create(call: Call) -> Response:
    context, limits = call.context, call.context.limits
    form = await read_form(
        call.request, file="file", fields=FIELDS, most=limits.upload_bytes, seconds=limits.upload_seconds
    )
    if form.file is None:
        raise Invalid([Fault(pointer="/file", detail="Send the image in the field file.")])
    account = account_for(form.fields.get("provider"), form.fields.get("account"), context.creating())
    file = form.file
    await call.stated({**form.fields, "file": hashlib.sha256(file).hexdigest()})
    # Its provider is asked meanwhile, so whoever asks for the same again hears that it is under way.
    return await call.in_steps(lambda: _passed(call, file, account), seconds=2 * limits.upload_seconds)


async def _passed(call: Call, file: bytes, account: AccountDesk) -> Response:
    name, provider = account.account.name, account.provider.name
    try:
        made = await passed_on(file, account, call.context)
    except NotAnImage as error:
        raise Problem("unsupported_media_type", str(error)) from None
    shown = {
        "object": "upload",
        "url": made.url,
        "public": True,
        "notice": PUBLIC,
        "provider": provider,
        "account": name,
        "type": made.image.type,
        "bytes": len(file),
        "width": made.image.width,
        "height": made.image.height,
    }
    return reply(shown, 201)


async def passed_on(content: bytes, account: AccountDesk, context: Context) -> Uploaded:
    """An image, at the provider that will use it. Raises `NotAnImage`, or `Problem` when the provider did not take it."""
    try:
        return await upload(content, account, context.client, seconds=context.limits.upload_seconds)
    except (NetError, ProviderError) as error:
        raise Problem("upload_failed", f"{account.provider.name} did not store the image: {error}") from error
