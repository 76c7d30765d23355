"""The API behind a door, in a module of its own: importing it takes half a second that short runs do not need."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn
from fastapi import FastAPI

from segue.access.accounts import Accounts
from segue.access.identities import Identities
from segue.access.limits import Rate
from segue.api.access import Access
from segue.api.app import create_app, create_engine_app, stop_streams
from segue.api.http1 import Http1
from segue.api.oidc import SignInProvider
from segue.api.services import Services
from segue.api.sockets import MESSAGE_BYTES_MAX
from segue.bootstrap import Host
from segue.cli.door import PublicAddress
from segue.errors import RequestError
from segue.observe.logs import configure_logging

if TYPE_CHECKING:
    from segue.api.grpc_door import GrpcDoor


PROVIDER_SECONDS: Final = 10.0


class ApiServer(uvicorn.Server):
    """Leaves signals to the command that opened the door."""

    def __init__(self, app: FastAPI, access: Access, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app
        self._access = access
        self._grpc: GrpcDoor | None = None

    async def setup_token(self) -> str | None:
        """The token with which the owner is made; None if the server has one."""
        identities: Identities = self._app.state.identities
        return None if await identities.accounts.exists_owner() else self._access.open_setup()

    async def open_grpc(self, host: str, port: int) -> int:
        """Serve the engine contract over gRPC, too; the port. Raises RequestError if it is taken, or if what gRPC needs
        is not installed.
        """
        try:
            from segue.api.grpc_door import GrpcDoor
        except ImportError as error:
            raise RequestError(f"--grpc: {error.name} is missing; install segue[grpc]") from error
        state = self._app.state
        self._grpc = GrpcDoor(state.contract, state.gate, state.identities, state.streams)
        return await self._grpc.open(host, port)

    async def close_grpc(self, grace_seconds: float) -> None:
        """See `GrpcDoor.close`; nothing if it was never opened."""
        if self._grpc is not None:
            await self._grpc.close(grace_seconds)

    def stop(self) -> None:
        """Take no more requests, and end live streams, whose readers come back to the next host."""
        stop_streams(self._app)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def _provider(host: Host) -> Callable[[Accounts], SignInProvider] | None:
    """The OpenID provider that the environment names. Raises RequestError."""
    if not os.environ.get("SEGUE_OIDC_ISSUER"):
        return None
    try:
        from segue.access.oidc import OidcProvider, OidcSettings
    except ImportError as error:
        raise RequestError(f"SEGUE_OIDC_ISSUER is set, but {error.name} is missing; install segue[oidc]") from error
    settings = OidcSettings.of_environment(os.environ)
    assert settings is not None

    def made(accounts: Accounts) -> SignInProvider:
        provider = OidcProvider(settings, accounts, host.http.get)
        host.health.register("oidc-provider", provider.answers, timeout_seconds=PROVIDER_SECONDS)
        return provider

    return made


def _rate(text: str | None) -> Rate | None:
    return None if text is None else Rate.parse(text)


def api_server(
    host: Host,
    folders: Sequence[Path],
    token: str,
    *,
    public: PublicAddress,
    grace_seconds: int,
    engine_only: bool = False,
) -> ApiServer:
    """A server of the host's API, to be given its socket. `engine_only`: document B's engine contract alone."""
    if not structlog.is_configured():
        # A command that shows no log. Left alone, structlog would write to stdout.
        configure_logging(json=False, level="critical")
    # Its start and stop are told by the command itself.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for folder in folders:
        host.served.add_folder(folder)
    services = Services(
        engine=host.engine, catalogue=host.catalogue, library=host.served, flows=host.flows, stored=host.stored,
        tables=host.tables, triggers=host.triggers, vault=host.vault, credentials=host.credentials,
        engine_elsewhere=host.engine_elsewhere, health=host.health,
    )  # fmt: skip
    access = Access(
        token, allowed_hosts=public.allowed_hosts, public_url=public.url, trusted_proxies=public.trusted_proxies
    )
    if engine_only:
        app = create_engine_app(services, access)
    else:
        app = create_app(
            services, access, provider=_provider(host), identity_rate=_rate(public.identity_rate),
            address_rate=_rate(public.address_rate),
        )  # fmt: skip
    config = uvicorn.Config(
        app,
        http=Http1,
        ws_max_size=MESSAGE_BYTES_MAX,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    return ApiServer(app, access, config)
