"""The HTTP side of a replica."""

from __future__ import annotations

import socket

from service.api.app import Api, create_app
from service.api.context import Context, Limits
from service.api.rates import Quota, Rates
from service.bootstrap.parts import Service
from service.bootstrap.policy import public_url_of
from service.compat.openai import routes as openai
from service.core.times import SECOND
from service.net.crowd import Crowd
from service.net.server import Server, listen, uvicorn_config
from service.settings import Settings


def app_of(service: Service) -> Api:
    """The HTTP side of a replica as an application: of one that only works, nothing but its health."""
    settings, ports = service.settings, service.ports
    context = Context(
        database=service.database,
        recorder=service.recorder,
        learned=service.durations.told,
        ring=service.ring,
        watch=service.watch,
        accounts=service.accounts,
        tokens=service.tokens,
        keyring=service.keyring,
        policy=service.policy,
        key_use=service.key_use,
        client=service.client,
        bucket=service.bucket,
        clock=ports.clock,
        ticks=lambda: int(ports.boottime() * SECOND),
        skew=service.skew,
        mint=ports.mint,
        entropy=ports.entropy,
        public_url=public_url_of(settings),
        disabled={name: account.provider for name, account in settings.accounts.items() if not account.enabled},
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token is not None else None,
        access_log=settings.access_log,
        docs=settings.docs,
        rates=_rates(settings),
        cors_origins=settings.cors_origins,
        limits=Limits(streams=settings.max_streams, project_streams=settings.max_project_streams),
    )
    return create_app(context, only_health="api" not in settings.roles, more=openai.ROUTES)


def _rates(settings: Settings) -> Rates:
    rate = settings.api.rate
    return Rates(Quota(count=rate.count, seconds=rate.seconds) if rate is not None else None)


def server_of(service: Service) -> Server:
    """The HTTP side of a replica, not yet started: `serve(sockets=[bind(settings)])`."""
    settings = service.settings
    crowd = Crowd(
        most=settings.max_connections, each=settings.max_address_connections, proxies=settings.trusted_proxies
    )
    return Server(uvicorn_config(app_of(service), settings.host, settings.port, crowd=crowd))


def bind(settings: Settings) -> socket.socket:
    """The socket to serve on, not yet open for requests. Raises OSError."""
    return listen(settings.host, settings.port)
