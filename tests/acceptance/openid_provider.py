"""A certified OpenID provider (idpyoidc) on a port of its own: real codes, PKCE, signatures and refusals."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from idpyoidc.server import Server
from idpyoidc.server.configure import OPConfiguration
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from acceptance.api_support import running

CLIENT_ID, CLIENT_SECRET = "segue", "four-lanterns-over-the-quay"
CLAIMS = ("name", "email", "email_verified", "roles")


def _keys(*kids: str) -> dict[str, Any]:
    return {"kwargs": {"keys": {"key_defs": [{"type": "OCT", "kid": kid, "use": ["enc"]} for kid in kids]}}}


def _endpoint(place: str, path: str, **kwargs: Any) -> dict[str, Any]:
    return {"path": path, "class": f"idpyoidc.server.oidc.{place}", "kwargs": kwargs}


def _settings(url: str, people: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rules = {"authorization_code": {"supports_minting": ["access_token", "id_token"], "max_usage": 1}}
    return {
        "issuer": url,
        "base_url": url,
        "key_conf": {"key_defs": [{"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}]},
        "keys": {"uri_path": "jwks.json", "key_defs": [{"type": "RSA", "use": ["sig"]}], "read_only": False},
        "token_handler_args": {
            "code": {"lifetime": 600, "kwargs": {"crypt_conf": _keys("password", "salt")}},
            "token": {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 3600}},
            "id_token": {
                "class": "idpyoidc.server.token.id_token.IDToken",
                "kwargs": {"lifetime": 600, "base_claims": dict.fromkeys(CLAIMS)},
            },
        },
        "endpoint": {
            "provider_config": _endpoint("provider_config.ProviderConfiguration", ".well-known/openid-configuration"),
            "authorization": _endpoint("authorization.Authorization", "authorization"),
            "token": _endpoint("token.Token", "token", client_authn_method=["client_secret_basic"]),
            "userinfo": _endpoint("userinfo.UserInfo", "userinfo"),
        },
        "authentication": {
            "anon": {
                "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified",
                "class": "idpyoidc.server.user_authn.user.NoAuthn",
                "kwargs": {"user": next(iter(people))},
            }
        },
        "userinfo": {"class": "idpyoidc.server.user_info.UserInfo", "kwargs": {"db": people}},
        "authz": {
            "class": "idpyoidc.server.authz.AuthzHandling",
            "kwargs": {"grant_config": {"usage_rules": rules, "expires_in": 3600}},
        },
        "add_ons": {
            "pkce": {
                "function": "idpyoidc.server.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": True, "code_challenge_methods": {"S256": {}}},
            }
        },
        "session_params": {"encrypter": _keys("password", "salt")},
    }


class OpenIdProvider:
    """The provider's endpoints over HTTP. Whoever comes to sign in is the person `who`."""

    def __init__(self, url: str, people: Mapping[str, Mapping[str, Any]]) -> None:
        self.url = url
        self.refused: list[str] = []
        """The errors of the token endpoint."""
        self._server: Any = Server(OPConfiguration(conf=_settings(url, people), base_path=""))
        self._method = self._server.context.authn_broker.get_method_by_id("anon")

    def sign_in_as(self, who: str) -> None:
        """Who comes next."""
        self._method.user = who

    def register(self, redirect_uri: str) -> None:
        """Make Segue known, with the one address that answers may go to."""
        self._server.context.cdb[CLIENT_ID] = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [(redirect_uri, {})],
            "response_types_supported": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "allowed_scopes": ["openid", "profile", "email"],
            "add_claims": {"always": {"id_token": list(CLAIMS)}},
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/jwks.json":
            return Response(self._server.context.keyjar.export_jwks_as_json(), media_type="application/json")
        if request.url.path == "/authorization":
            return self._authorization(dict(request.query_params))
        if request.url.path == "/token":
            return await self._token(request)
        endpoint = self._server.get_endpoint("provider_config")
        return Response(endpoint.do_response(**endpoint.process_request())["response"], media_type="application/json")

    def _authorization(self, query: dict[str, str]) -> Response:
        endpoint = self._server.get_endpoint("authorization")
        parsed = endpoint.parse_request(query)
        if "error" in parsed:
            return Response(parsed.to_json(), 400, media_type="application/json")
        made = endpoint.process_request(parsed)
        if "error" in made:
            return Response(str(made), 400)
        return RedirectResponse(endpoint.do_response(**made)["response"], 302)

    async def _token(self, request: Request) -> Response:
        endpoint = self._server.get_endpoint("token")
        form = dict(parse_qsl((await request.body()).decode()))
        try:
            made = endpoint.parse_request(form, http_info={"headers": dict(request.headers)})
            if "error" not in made:
                made = endpoint.process_request(made)
        except Exception as error:  # noqa: BLE001 - the package tells a wrong client or code by errors of many classes
            made = {"error": "invalid_client", "error_description": type(error).__name__}
        if "error" in made:
            self.refused.append(made["error"])
            return JSONResponse({"error": made["error"]}, 400)
        return Response(endpoint.do_response(**made)["response"], media_type="application/json")


@asynccontextmanager
async def openid_provider(people: Mapping[str, Mapping[str, Any]]) -> AsyncGenerator[OpenIdProvider]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found = OpenIdProvider(f"http://127.0.0.1:{listener.getsockname()[1]}", people)
        async with running(found, listener):
            yield found
