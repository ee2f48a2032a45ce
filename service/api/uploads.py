"""/v1/uploads: an image that has no URL of its own yet gets one, at the provider that will use it."""

from __future__ import annotations

from starlette.responses import Response

from service.api.call import Call, reply
from service.api.multipart import read_form
from service.api.problems import Problem
from service.api.query import Query
from service.core.images import NotAnImage
from service.core.request import Fault, Invalid
from service.net.guard import NetError
from service.pipeline.upload import account_for, upload
from service.providers.base import ProviderError

FIELDS = frozenset({"account", "provider"})
PUBLIC = "The URL is public: whoever has it can see the image. The provider decides how long it lives."


async def create(call: Call) -> Response:
    """POST /v1/uploads"""
    Query(call.request, ()).settle()
    under_way, most = call.context.uploading, call.context.limits.uploads
    if len(under_way) >= most:
        detail = f"{most} files are being uploaded just now. Send it again in a few seconds."
        raise Problem("unavailable", detail, headers={"retry-after": "5"})
    mark = object()
    under_way.add(mark)
    try:
        return await _create(call)
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
    name, provider = account.account.name, account.provider.name
    try:
        made = await upload(form.file, account, context.client, seconds=limits.upload_seconds)
    except NotAnImage as error:
        raise Problem("unsupported_media_type", str(error)) from None
    except (NetError, ProviderError) as error:
        raise Problem("upload_failed", f"{provider} did not store the image: {error}") from error
    shown = {
        "object": "upload",
        "url": made.url,
        "public": True,
        "notice": PUBLIC,
        "provider": provider,
        "account": name,
        "type": made.image.type,
        "bytes": len(form.file),
        "width": made.image.width,
        "height": made.image.height,
    }
    return reply(shown, 201)
