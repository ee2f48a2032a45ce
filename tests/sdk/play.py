"""A program that does with an SDK what it is told, a line of JSON at a time. It runs with the SDK's own packages, outside of our tests.

`{"call": "videos.create", "with": {…}, "client": {…}}` answers `{"value": …}` or `{"error": {…}}`; `{"$bytes": "…"}` stands for
bytes in base 64, `{"$tuple": […]}` for a tuple. Started as `play.py sync|async`.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import inspect
import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")  # the SDK calls its own videos deprecated
openai: Any = importlib.import_module("openai")
KIND = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}[sys.argv[1]]


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def answered(order: dict[str, Any]) -> dict[str, Any]:
    client = KIND(**order["client"])
    try:
        return {"value": shown(await called(client, order["call"], given(order.get("with", {}))))}
    except openai.APIStatusError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        told = {"status": error.status_code, "text": str(error), "request_id": error.request_id, "code": error.code}
        return {"error": {"class": kinds[0], "kinds": kinds, **told}}
    except (openai.OpenAIError, ValueError) as error:
        return {"error": {"class": type(error).__name__, "text": str(error)}}
    finally:
        await done(client.close())


async def called(client: Any, name: str, arguments: dict[str, Any]) -> Any:
    if name == "version":
        return openai.__version__
    if name == "pages":
        return await pages(client.videos.list(**arguments))
    if name == "endpoints":
        return await pages(client.webhooks.list(**arguments))
    if name == "post":
        return await done(client.post(arguments["path"], body=arguments["body"], cast_to=object))
    place = client
    for part in name.split("."):
        place = getattr(place, part)
    return await done(place(**arguments))


async def pages(listed: Any) -> list[list[str]]:
    """The ids on every page, as the SDK goes from one to the next."""
    page, found = await done(listed), []
    while True:
        found.append([one.id for one in page.data])
        if not page.has_next_page():
            return found
        page = await done(page.get_next_page())


def given(value: Any) -> Any:
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$tuple": entries}:
            return tuple(map(given, entries))
        case dict():
            return {name: given(one) for name, one in value.items()}
        case list():
            return list(map(given, value))
        case _:
            return value


def shown(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return {**value.to_dict(mode="json"), "class": type(value).__name__}
    if hasattr(value, "content"):
        return base64.b64encode(value.content).decode()
    return value


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await answered(json.loads(line))), flush=True)  # noqa: T201 (its answers)


if __name__ == "__main__":
    asyncio.run(main())
