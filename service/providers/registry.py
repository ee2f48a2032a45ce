"""Every provider there is. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from service.providers.acedata import AceData
from service.providers.apiinone import ApiInOne
from service.providers.base import Provider
from service.providers.cloudsway import Cloudsway
from service.providers.ulazai import UlazAI


def everyone() -> Mapping[str, Provider]:
    """All contracts, for a contract that wants to name the others."""
    return PROVIDERS


PROVIDERS: Mapping[str, Provider] = {
    "cloudsway": Cloudsway(everyone),
    "acedata": AceData(everyone),
    "ulazai": UlazAI(everyone),
    "apiinone": ApiInOne(everyone),
}
