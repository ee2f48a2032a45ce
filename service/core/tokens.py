"""Tokens in our URLs: which submission a push is about, which task's output is asked for.

A token is `v1.<installation tag>.<id without its prefix>.<signature>`, signed by itsdangerous: no JSON, no
compression, no timestamp. One salt per purpose keeps a token of one kind from passing for another; the tag keeps one
of another installation out even where keys are shared; a callback's signature covers its provider, whose name stands in
the path and chooses who reads the body. A provider's push may come days late, so nothing ages.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from service.core import ids
from service.core.keys import Keyring

PROBE: Final = "prb"
MIN_LENGTH: Final = 20
MAX_LENGTH: Final = 200
NAME: Final = r"[A-Za-z0-9_-]{1,64}"
# The last of 43 characters carries two idle bits. Only the spelling that leaves them zero is ours: four spellings of
# one signature would otherwise pass, and a limit kept by token could be dodged.
SIGNATURE: Final = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"


class Tokens:
    """Makes and reads tokens. Build once; making or reading one takes microseconds."""

    def __init__(self, keyring: Keyring, installation: str) -> None:
        keys = keyring.derive("tokens")
        # Not secret, only distinct: the id of the installation in eight characters.
        tag = ids.from_digest("", hashlib.sha256(installation.encode("utf-8")).digest()[:16])[1:9]
        self._callback = Purpose(keys, salt="cb.v1", tag=tag, prefix=ids.SUBMISSION)
        self._output = Purpose(keys, salt="out.v1", tag=tag, prefix=ids.TASK)
        self._probe = Purpose(keys, salt="probe.v1", tag=tag, prefix=PROBE)
        self._echo = Purpose(keys, salt="echo.v1", tag=tag, prefix=PROBE)

    def callback(self, provider: str, submission_id: str) -> str:
        """The token of a submission's callback URL. Under another provider's path it is none."""
        return self._callback.make(submission_id, about=provider)

    def read_callback(self, provider: str, token: str) -> str | None:
        """The submission a callback token names, or None when anything at all is wrong with it."""
        return self._callback.read(token, about=provider)

    def output(self, task_id: str) -> str:
        """The token of a task's output URL."""
        return self._output.make(task_id)

    def read_output(self, token: str) -> str | None:
        """The task an output token names, or None when anything at all is wrong with it."""
        return self._output.read(token)

    def probe(self, probe_id: str) -> str:
        """A token that names nothing: whoever sends it to the callback door learns whether that door is ours."""
        return self._probe.make(probe_id)

    def echo(self, token: str, body: bytes) -> str | None:
        """What only this installation answers to a probe, over the body as it arrived. None when it is no probe of ours."""
        probe_id = self._probe.read(token)
        return None if probe_id is None else self._echo.make(probe_id, about=hashlib.sha256(body).hexdigest())


class Purpose:
    """One kind of token: its salt, and the prefix of the ids it names."""

    def __init__(self, keys: Sequence[bytes], *, salt: str, tag: str, prefix: str) -> None:
        self._signer = QuickSigner(keys, salt)
        self._prefix = f"{prefix}_"
        self._start = f"v1.{tag}."
        self._name = re.compile(NAME)
        self._form = re.compile(rf"{re.escape(self._start)}({NAME})\.{SIGNATURE}")

    def make(self, id: str, about: str = "") -> str:
        """`about`: what else the signature covers, stated beside the token and not in it."""
        name = id.removeprefix(self._prefix)
        if name == id or not self._name.fullmatch(name):
            raise ValueError(f"{id!r} is no id of the kind {self._prefix}…")
        value = self._start + name
        return f"{value}.{self._signer.get_signature(_covered(value, about)).decode('ascii')}"

    def read(self, token: str, about: str = "") -> str | None:
        # Length and form first: a stranger's bytes cost no cryptography, and nothing odd reaches it.
        if not isinstance(token, str) or not MIN_LENGTH <= len(token) <= MAX_LENGTH:
            return None
        found = self._form.fullmatch(token)
        if found is None:
            return None
        value, _, signature = token.rpartition(".")
        return self._prefix + found[1] if self._signer.verify_signature(_covered(value, about), signature) else None


def _covered(value: str, about: str) -> str:
    """The signed text. A token's own value has no slash, so no other split gives the same text."""
    return f"{value}/{about}" if about else value


class QuickSigner(Signer):
    """A `Signer` that derives each key once. Its tokens are the stock signer's."""

    def __init__(self, keys: Sequence[bytes], salt: str) -> None:
        # Upstream wants the newest key last. Its default derivation lets a salt's end pass for a key's beginning: "hmac".
        super().__init__(keys[::-1], salt=salt, key_derivation="hmac", digest_method=hashlib.sha256, algorithm=Sha256())
        self._derived: dict[object, bytes] = {key: super(QuickSigner, self).derive_key(key) for key in self.secret_keys}

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        return self._derived[self.secret_key if secret_key is None else secret_key]


class Sha256(SigningAlgorithm):
    """HMAC-SHA256 in one call into C, half the time of an `hmac.HMAC` object."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")
