"""The accounts that may be asked, from their settings and their contracts."""

from __future__ import annotations

from service.bootstrap.errors import StartError
from service.net.client import Channel
from service.pipeline.accounts import AccountDesk, Callbacks
from service.pipeline.probe.cheapest import Purchase as Purchase
from service.pipeline.probe.cheapest import cheapest
from service.providers.base import Account
from service.providers.registry import PROVIDERS
from service.settings import AccountSettings, Settings


def accounts_of(settings: Settings) -> dict[str, AccountDesk]:
    """The accounts that may be asked. Raises `StartError` naming every one that cannot work."""
    found: dict[str, AccountDesk] = {}
    faults: list[str] = []
    for name, account in settings.accounts.items():
        if not account.enabled:
            continue
        prefix = f"TASKRELAY_ACCOUNTS__{name.upper()}__"
        if account.provider not in PROVIDERS:
            faults.append(
                f"{prefix}PROVIDER: there is no provider {account.provider!r}; there is {', '.join(PROVIDERS)}"
            )
        elif account.api_key is None:
            faults.append(f"{prefix}API_KEY is not set (or {prefix}ENABLED=false)")
        else:
            found[name] = _account(name, account, settings)
    if faults:
        raise StartError("\n".join(faults))
    return found


def _account(name: str, account: AccountSettings, settings: Settings) -> AccountDesk:
    provider = PROVIDERS[account.provider]
    traits = provider.traits
    assert account.api_key is not None  # accounts_of has checked
    return AccountDesk(
        account=Account(name=name, provider=account.provider, endpoint_path=account.endpoint_path),
        provider=provider,
        channel=Channel(
            name=name, base_url=account.base_url or provider.base_url, api_key=account.api_key.get_secret_value()
        ),
        callbacks=Callbacks(account.callbacks),
        rate=account.rate.per_second if account.rate is not None else traits.rate,
        max_open_tasks=account.max_open_tasks,
        expected_seconds=account.expected_seconds or traits.expected_seconds,
        settle_seconds=settings.timing.settle_seconds,
        submit_deadline_seconds=settings.timing.submit_deadline_seconds,
        query_seconds=settings.timing.query_timeout_seconds,
        units_per_second={rate.level: rate.amount for rate in account.units_per_second},
        unit_price=str(account.unit_price) if account.unit_price is not None else None,
        webhook_secret=account.webhook_secret.get_secret_value() if account.webhook_secret is not None else None,
        public_url=settings.public_url,
    )


def provider_names() -> tuple[str, ...]:
    return tuple(PROVIDERS)


def pushing_providers() -> tuple[str, ...]:
    return tuple(name for name, provider in PROVIDERS.items() if provider.traits.callbacks)


def cheapest_purchase(settings: Settings, account: str, model: str | None = None) -> Purchase | None:
    """The cheapest job at this account. Raises KeyError for an account that may not be asked, `StartError` for faulty ones."""
    return cheapest(accounts_of(settings)[account], model)
