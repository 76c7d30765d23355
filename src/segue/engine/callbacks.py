"""Signals from outside for steps that wait: whose they are, whether they fit, who signed them; then they are kept.

What is refused uses nothing up: the step goes on waiting.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from segue.engine.committing import Committing
from segue.engine.declared import sealed_content
from segue.engine.ids import WORKSPACE, correlation, token_hash
from segue.engine.live_run import LiveRun
from segue.engine.loading import Loading
from segue.engine.secrets import SecretResolver
from segue.engine.values import NotKeepableError, as_kept
from segue.errors import (
    ConflictError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    RequestError,
    SecretUnavailableError,
    SignatureError,
    StepError,
)
from segue.flow.inputs import check_value
from segue.flow.model import Flow, JsonValue, Signature
from segue.kernel import inputs as inp
from segue.kernel.approvals import verdict_of
from segue.kernel.state import RunState, StepState
from segue.store.port import CallbackRow, RunRecord, Store
from segue.store.tables import Sql

Note: TypeAlias = Callable[[CallbackRow, RunRecord], Awaitable[Callable[[Sql], None]]]
"""What is to be kept with a signal that is taken, once it is known whose it is."""
_log = logging.getLogger("segue.engine")
_HASHES: Final = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Callbacks:
    """The callbacks of one host's runs."""

    def __init__(
        self,
        store: Store,
        loading: Loading,
        committing: Committing,
        secrets: SecretResolver,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._loading = loading
        self._committing = committing
        self._secrets = secrets
        self._now = now

    async def find(self, token: str) -> tuple[CallbackRow, RunRecord]:
        """The open callback of a token.

        Raises NotFoundError, GoneError if it has expired, ConflictError if it was used or cancelled.
        """
        row = await self._store.find_callback(token_hash(token))
        if row is None:
            raise NotFoundError("no callback has this token")
        return row, await self._open(row)

    async def find_called(
        self,
        called: JsonValue,
        *,
        workspace: str = WORKSPACE,
        flow_id: str | None = None,
        among: frozenset[str] | None = None,
    ) -> tuple[CallbackRow, RunRecord]:
        """The one open callback that its step calls by this value (`correlate`), of runs of a workspace, and
        of one flow if it is named, or of some (`among`).

        Raises NotFoundError, ConflictError if there are several.
        """
        found: list[tuple[CallbackRow, RunRecord]] = []
        for row in await self._store.callbacks_by_correlation(correlation(called) or "null"):
            if row.expires_at > self._now():
                record = await self._open(row)
                is_meant = flow_id in (None, record.flow_id) and (among is None or record.flow_id in among)
                if record.workspace == workspace and is_meant:
                    found.append((row, record))
        if len(found) > 1:
            message = f"{len(found)} steps wait for a callback with this correlation; name the flow, or send the token"
            raise ConflictError(message)
        if not found:
            raise NotFoundError("no step waits for a callback with this correlation")
        return found[0]

    async def _open(self, row: CallbackRow) -> RunRecord:
        if row.state == "used":
            raise ConflictError("this callback has been used already; nothing was changed")
        if row.state == "cancelled":
            raise ConflictError("the step does not wait for this callback any more; nothing was changed")
        if row.state == "expired" or row.expires_at <= self._now():
            raise GoneError("this callback has expired; nothing was changed")
        record = await self._store.get_run_by_key(row.run_key)
        if record is None:
            raise NotFoundError("the run of this callback is not in the database any more")
        return record

    async def give(
        self,
        token: str,
        payload: JsonValue,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        note: Note | None = None,
    ) -> str:
        """Deliver a signal and return the run's id; when this returns, it is kept. `raw` and `headers` are those of
        the request that brought it; a callback that wants a signature needs both. `note` gives what is to be kept in
        the same commit.

        Errors as `find`; RequestError if the payload is no JSON, InvalidInputError with all mistakes if it is not what
        the step takes, SignatureError if it is not signed as the step asks.
        """
        row, record = await self.find(token)
        return await self._give(row, record, payload, raw, headers, note)

    async def give_called(
        self,
        called: JsonValue,
        payload: JsonValue,
        *,
        workspace: str = WORKSPACE,
        flow_id: str | None = None,
        among: frozenset[str] | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        note: Note | None = None,
    ) -> str:
        """As `give`, for the callback that its step calls by a value. Errors as `find_called` and `give`."""
        row, record = await self.find_called(called, workspace=workspace, flow_id=flow_id, among=among)
        return await self._give(row, record, payload, raw, headers, note)

    async def _give(
        self,
        row: CallbackRow,
        record: RunRecord,
        payload: JsonValue,
        raw: bytes | None,
        headers: Mapping[str, str] | None,
        note: Note | None,
    ) -> str:
        try:
            payload = as_kept(payload)
        except NotKeepableError as error:
            raise RequestError(f"the payload: {error}") from error
        also = None if note is None else await note(row, record)
        run = await self._loading.loaded(record)
        try:
            await self._check(run, row, payload, raw, headers)
            # While a secret was looked up for it, another word may have let the run go.
            run = await self._loading.loaded(record)
            taken = sealed_content(payload, run.state.plan, run.state.box)
            await self._committing.feed_and_wait(run, inp.CallbackArrived(row.step, row.generation, taken), also=also)
        finally:
            self._committing.rest(run)
        return record.run_id

    async def _check(
        self,
        run: LiveRun,
        row: CallbackRow,
        payload: JsonValue,
        raw: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        state = run.state
        step = state.nodes[row.step] if row.step < len(state.nodes) else None
        callback = None if step is None else step.plan.step.callback
        if step is None or callback is None:
            raise ConflictError(f"run {state.run_id} is not waiting for this callback any more; nothing was changed")
        if callback.signature is not None:
            secret = await self._secret(state.plan.flow, callback.signature, run.workspace)
            check_signature(callback.signature, secret, raw, headers)
        details = mistakes_in(step, payload)
        if details:
            path, sentence = details[0]
            message = f"the answer does not fit what {row.step_path} takes: {f'{path}: ' if path else ''}{sentence}"
            raise InvalidInputError(message, details)

    async def signed(self, state: RunState, signature: Signature, raw: bytes, workspace: str) -> dict[str, str]:
        """The header with which the sender that the step expects would sign this body: for trying a callback out."""
        secret = await self._secret(state.plan.flow, signature, workspace)
        digest = hmac.new(secret, raw, _HASHES[signature.algorithm]).digest()
        text = digest.hex() if signature.encoding == "hex" else base64.b64encode(digest).decode()
        return {signature.header: f"{signature.prefix}{text}"}

    async def _secret(self, flow: Flow, signature: Signature, workspace: str) -> bytes:
        declared = {name: source for name, source in flow.secrets.items() if name == signature.secret}
        try:
            found = (await self._secrets.resolve(declared, workspace)).get(signature.secret)
        except StepError as error:
            # Whoever holds the address reads the answer: the reason is for the log.
            _log.warning("a callback of flow %s cannot be judged: %s", flow.id, error)
            message = "the signature cannot be checked at the moment; nothing was changed, so send it again later"
            raise SecretUnavailableError(message) from error
        if found is None:
            raise SignatureError(f"the flow declares no secret {signature.secret!r}, so no signature can be checked")
        return found.value.encode()


def mistakes_in(step: StepState, payload: JsonValue) -> list[tuple[str, str]]:
    """What of an answer is not what the step takes: path and sentence of each mistake."""
    callback = step.plan.step.callback
    details = [] if callback is None or callback.schema is None else check_value(callback.schema, payload)
    if not details and step.plan.kind == "approve" and verdict_of(payload) is None:
        details = [("decision", "`decision` is approve or reject, and `approved` says the same if both are there")]
    return details


def check_signature(signature: Signature, secret: bytes, raw: bytes | None, headers: Mapping[str, str] | None) -> None:
    """Raises SignatureError unless the header holds the HMAC of the raw body (RFC 2104). Compared in constant time."""
    if raw is None or headers is None:
        raise SignatureError("this callback wants a signature over the body of the request; it was sent without one")
    given = next((value for name, value in headers.items() if name.lower() == signature.header), None)
    if given is None:
        raise SignatureError(f"the signature is missing: send it in the header {signature.header}")
    digest = hmac.new(secret, raw, _HASHES[signature.algorithm]).digest()
    if not given.startswith(signature.prefix) or not hmac.compare_digest(_decoded(given, signature), digest):
        raise SignatureError(f"the signature in the header {signature.header} is not that of this body")


def _decoded(given: str, signature: Signature) -> bytes:
    text = given.removeprefix(signature.prefix).strip()
    try:
        return bytes.fromhex(text) if signature.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
