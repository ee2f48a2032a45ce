"""The receivers on the page about signatures verify what we sign, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from service.core import diagnosis, header_faults, receivers, signature
from service.core.signing_keys import Signer

PAGE = (Path(__file__).parent.parent / "docs" / "signatures.md").read_text(encoding="utf-8")
NODE = shutil.which("node")
OLD, NEW, OTHER = (Signer(bytes([n]) * 32) for n in range(3))
BODY = '{"type":"task.succeeded","data":{"prompt":"紙の舟"}}'.encode()


def sample(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def signed(*signers: Signer, late: int = 0) -> dict[str, str]:
    stamp = int(time.time()) - late
    made = signature.sign([bytes(24)], "evt_1", stamp, BODY, signers)
    return {"webhook-id": "evt_1", "webhook-timestamp": str(stamp), "webhook-signature": made}


Case = tuple[dict[str, str], bytes, list[Signer], bool]  # headers, body, keys of the receiver, what it must say
KINDS = 8


def cases() -> list[Case]:
    """Signed when they are asked for: receivers refuse what is five minutes old, and the tests before may take that long."""
    return [
        (signed(NEW), BODY, [NEW], True),
        (signed(NEW, OLD), BODY, [OLD], True),
        (signed(NEW, OLD), BODY, [OTHER, NEW], True),
        (signed(NEW), BODY, [OTHER], False),
        (signed(NEW), BODY + b" ", [NEW], False),
        (signed(NEW, late=3600), BODY, [NEW], False),
        (signed(NEW) | {"webhook-signature": "v1a,AAAA v2,x v1a"}, BODY, [NEW], False),
        (signed(), BODY, [NEW], False),
    ]


@pytest.mark.parametrize("case", range(KINDS))
def test_the_python_on_the_page(case: int) -> None:
    headers, body, keys, fits = cases()[case]
    page: dict[str, Any] = {}
    exec(compile(sample("python"), "signatures.md", "exec"), page)
    assert page["verify"](headers, body, [key.public_text for key in keys]) is fits


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="needs node, which nothing else here does")
def test_the_javascript_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "verify.mjs").write_text(sample("js"), encoding="utf-8")
    made = cases()
    given = [(headers, body.decode(), [key.public_text for key in keys]) for headers, body, keys, _ in made]
    (tmp_path / "run.mjs").write_text(
        'import { verify } from "./verify.mjs";\n'
        f"const cases = {json.dumps(given)};\n"
        "console.log(JSON.stringify(cases.map(([h, b, k]) => verify(h, Buffer.from(b), k))));\n",
        encoding="utf-8",
    )
    ended = subprocess.run([str(NODE), "run.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert len(made) == KINDS
    assert json.loads(ended.stdout) == [fits for *_, fits in made]


def test_every_verdict_is_on_the_page() -> None:
    sources = [
        Path(module.__file__ or "").read_text(encoding="utf-8") for module in (diagnosis, header_faults, receivers)
    ]
    said = {verdict for text in sources for verdict in re.findall(r'verdict="(\w+)"', text)} - {"ok"}
    told = {
        name for row in re.findall(r"^\| (`[a-z_`, ]+) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert said == told - {"v1"}
