"""The HTTP side of a replica."""

from __future__ import annotations

import socket

from service.api.app import Api, create_app
from service.api.context import Context, Limits
from service.bootstrap.parts import Service
from service.bootstrap.policy import public_url_of
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
        client=service.client,
        bucket=service.bucket,
        clock=ports.clock,
        skew=service.skew,
        mint=ports.mint,
        entropy=ports.entropy,
        public_url=public_url_of(settings),
        disabled={name: account.provider for name, account in settings.accounts.items() if not account.enabled},
        limits=Limits(streams=settings.max_streams, project_streams=settings.max_project_streams),
    )
    return create_app(context, only_health="api" not in settings.roles)


def server_of(service: Service) -> Server:
    """The HTTP side of a replica, not yet started: `serve(sockets=[bind(settings)])`."""
    return Server(uvicorn_config(app_of(service), service.settings.host, service.settings.port))


def bind(settings: Settings) -> socket.socket:
    """The socket to serve on, not yet open for requests. Raises OSError."""
    return listen(settings.host, settings.port)
