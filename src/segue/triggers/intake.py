"""What comes to a webhook: judged on its raw bytes, then kept with the run that it starts, then answered.

The order is the promise. Nothing of the body is looked at before it is known whose it is; and a 2xx is sent only when
the delivery and its run are on disk, in one commit. A second delivery of the sender's id finds the first one in the
way there, and is answered as that one was.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from segue.engine.ids import new_run_id
from segue.errors import (
    ConflictError,
    InvalidInputError,
    LimitReachedError,
    RequestError,
    SegueError,
    SignatureError,
    StoreUnavailableError,
)
from segue.flow.inputs import check_value
from segue.flow.model import RawMap
from segue.observe.masking import MASK
from segue.store.tables import Sql, Tables
from segue.triggers import deliveries
from segue.triggers.bearers import TokenScheme
from segue.triggers.body import Body
from segue.triggers.deliveries import Delivery, Seen
from segue.triggers.errors import (
    BadContentError,
    EncodingNotTakenError,
    TooManyBytesError,
    TooOftenError,
    TypeNotTakenError,
)
from segue.triggers.incoming import Incoming, Read
from segue.triggers.lookup import Webhooks, is_handshake
from segue.triggers.proof import Proofs
from segue.triggers.rates import Rates
from segue.triggers.records import TriggerRow, new_id, note_fired
from segue.triggers.registry import Registry
from segue.triggers.schemes import Source
from segue.triggers.signatures import ID_MAX, Message, Verdict
from segue.triggers.starting import Ready, Starter
from segue.triggers.webhook_event import event_of, made_event
from segue.triggers.webhook_settings import Answer, Computed, WebhookSettings

REFUSAL: Final = "the request does not prove that it comes from the webhook's sender"
"""The same for everything that can be wrong with a proof."""
NOTED_EVERY_MS: Final = 10_000
"""How often a delivery beyond a webhook's rate is kept to be seen."""
_ECHOED: Final = re.compile(r"[A-Za-z0-9_.~:/+=, -]{1,512}\Z")
"""Nothing that a browser could take for a page."""
_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_log = logging.getLogger("segue.triggers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The delivery is kept. `run_id` None: no run begins, for the reason."""

    delivery_id: str
    run_id: str | None
    answer: Answer = "now"
    answer_seconds: float = 0.0
    repeated: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Echo:
    """The sender asks whether the address is ours: its own words go back."""

    text: str


class _Refused(Exception):
    """What the sender is told, and the code for the record."""

    def __init__(self, error: SegueError, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class Intake:
    """The webhooks of one host."""

    def __init__(
        self,
        tables: Tables,
        registry: Registry,
        webhooks: Webhooks,
        proofs: Proofs,
        starter: Starter,
        now: Callable[[], int],
    ) -> None:
        self._tables = tables
        self._registry = registry
        self._webhooks = webhooks
        self._proofs = proofs
        self._starter = starter
        self._now = now
        self._rates = Rates()
        self._noted_at: dict[str, int] = {}

    async def take(self, incoming: Incoming, read: Read) -> Taken | Echo:
        """Judge and keep what came. When this returns, it is kept.

        Raises NotFoundError, MethodNotTakenError, SignatureError, and for a sender that is known: RequestError for a
        body that cannot be read, InvalidInputError, LimitReachedError, FlowUnusableError, StoreUnavailableError.
        """
        row, settings = self._webhooks.at(incoming)
        if incoming.method == "HEAD":
            return Echo("")
        if is_handshake(settings, incoming):
            return _echo_of(settings, Message(incoming.headers, incoming.body, incoming.query)) or Echo("")
        body = Body(incoming, read, limit=self._webhooks.bytes_of(settings), encodings=settings.encodings)
        message = Message(incoming.headers, incoming.body, incoming.query, body.json)
        delivery = self._delivery(row, settings, incoming)
        try:
            verdict = await self._judged(row, settings, incoming, message, body)
            delivery = msgspec.structs.replace(delivery, body=body.plain(), body_bytes=len(body.plain()))
            echo = _echo_of(settings, message)
            if echo is not None:
                return echo
            await self._rated(row, settings, delivery)
            event = event_of(row, settings, incoming, delivery, body)
            if row.capture > 0:
                return await self._captured(row, delivery, event, settings, message)
            seen = self._id_of(settings, verdict, message, event)
            return await self._kept(row, settings, delivery, event, message, seen)
        except _Refused as refused:
            await self._note_refused(row, delivery, refused)
            raise refused.error from None
        except (TooManyBytesError, BadContentError) as error:
            await self._note_refused(row, delivery, _Refused(error, error.reason))
            raise

    def _delivery(self, row: TriggerRow, settings: WebhookSettings, incoming: Incoming) -> Delivery:
        proof = settings.auth.scheme.query if isinstance(settings.auth.scheme, TokenScheme) else None
        now = self._now()
        return Delivery(
            id=new_id(now, "dlv_"), workspace=row.workspace, flow_id=row.flow_id, trigger_id=row.id, at=now,
            method=incoming.method, content_type=incoming.media_type,
            headers=deliveries.shown_headers(incoming.headers, settings.auth.secret_headers),
            query=deliveries.shown_query(incoming.query, proof), body=incoming.body,
            body_bytes=len(incoming.body), verdict="accepted", reason="ok",
        )  # fmt: skip

    # ------------------------------------------------------------ whose it is

    async def _judged(
        self, row: TriggerRow, settings: WebhookSettings, incoming: Incoming, message: Message, body: Body
    ) -> Verdict:
        try:
            body.check()
        except EncodingNotTakenError as error:
            raise _Refused(error, "content-encoding") from None
        verdict = await self._proofs.judge(row, settings.auth, message)
        if not verdict.accepted:
            raise _Refused(SignatureError(REFUSAL), verdict.reason)
        if incoming.body and not settings.takes(incoming.content_type):
            taken = ", ".join(settings.content_types)
            shown = incoming.content_type[:60] or "none"
            error = TypeNotTakenError(f"this webhook takes bodies of the content types {taken}, not {shown}")
            raise _Refused(error, "content-type")
        return verdict

    async def _rated(self, row: TriggerRow, settings: WebhookSettings, delivery: Delivery) -> None:
        """Raises TooOftenError. Of a flood one refusal a while is kept, not each."""
        try:
            self._rates.take(row.id, settings.rate)
        except TooOftenError as error:
            if delivery.at - self._noted_at.get(row.id, 0) >= NOTED_EVERY_MS:
                self._noted_at[row.id] = delivery.at
                await self._note_refused(row, delivery, _Refused(error, "rate"))
            raise

    def forget(self, trigger_id: str) -> None:
        """The trigger is gone."""
        self._rates.forget(trigger_id)
        self._noted_at.pop(trigger_id, None)

    def _id_of(self, settings: WebhookSettings, verdict: Verdict, message: Message, event: RawMap) -> str | None:
        """What a repetition of this delivery has in common with it; None: it is never held for one."""
        match settings.dedupe:
            case None:
                return verdict.id
            case False:
                return None
            case Source() as source:
                return message.word(source)
            case Computed(written):
                value = self._starter.computed(written, event, "dedupe")
                text = value if isinstance(value, str) else None if value is None else _sorted(value).decode()
                if not text:
                    return None
                return text if len(text) <= ID_MAX else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    # ------------------------------------------------------------ keeping

    async def _kept(
        self,
        row: TriggerRow,
        settings: WebhookSettings,
        delivery: Delivery,
        event: RawMap,
        message: Message,
        seen: str | None,
    ) -> Taken:
        # Whether its id was seen is asked of the commit itself; before that only where none would be tried, and where
        # a second run of the flow's limits might replace the first.
        try:
            ready = await self._ready(row, settings, event, message)
        except (_Refused, SegueError):
            earlier = await self._earlier(row, seen)
            if earlier is None:
                raise
            return _again(earlier, settings)
        if ready.version is not None and ready.version.flow.run_limits is not None:
            earlier = await self._earlier(row, seen)
            if earlier is not None:
                return _again(earlier, settings)
        if ready.version is None:
            hidden = await self._hidden(row, delivery, hides=ready.hides)
            return await self._ignored(row, settings, hidden, seen, ready.reason)
        run_id = new_run_id(delivery.at)
        kept = await self._hidden(row, msgspec.structs.replace(delivery, run_id=run_id), hides=ready.hides)

        def also(sql: Sql) -> None:
            if seen is not None:
                deliveries.put_seen(sql, kept, seen)
            deliveries.put_delivery(sql, kept)
            note_fired(sql, row.id, kept.at, run_id)

        try:
            await self._starter.start(row, ready, event, run_id=run_id, also=also)
        except (LimitReachedError, ConflictError) as error:
            earlier = await self._earlier(row, seen)
            if earlier is not None:
                return _again(earlier, settings)
            if isinstance(error, LimitReachedError):
                raise _Refused(error, "limit-reached") from None
            raise
        return Taken(
            delivery_id=kept.id, run_id=run_id, answer=settings.answer, answer_seconds=settings.answer_seconds
        )  # fmt: skip

    async def _ready(self, row: TriggerRow, settings: WebhookSettings, event: RawMap, message: Message) -> Ready:
        name = settings.auth.event_of(message)
        if settings.events and name not in settings.events:
            return Ready(version=None, inputs={}, reason=f"the webhook takes other events than {name}")
        mistakes = [] if settings.schema is None else check_value(settings.schema, event["body"])
        if mistakes:
            path, sentence = mistakes[0]
            words = f"the body does not fit what the webhook takes: {f'{path}: ' if path else ''}{sentence}"
            raise _Refused(InvalidInputError(words, mistakes), "schema")
        try:
            return await self._starter.ready(row, event)
        except InvalidInputError as error:
            raise _Refused(error, "inputs") from None

    async def _ignored(
        self, row: TriggerRow, settings: WebhookSettings, delivery: Delivery, seen: str | None, reason: str | None
    ) -> Taken:
        kept = msgspec.structs.replace(delivery, verdict="ignored", reason=reason or "ignored")

        def do(sql: Sql) -> None:
            if seen is not None:
                deliveries.put_seen(sql, kept, seen)
            deliveries.put_delivery(sql, kept)

        try:
            await self._tables.change(do)
        except ConflictError:
            earlier = await self._earlier(row, seen)
            if earlier is None:
                raise
            return _again(earlier, settings)
        return Taken(delivery_id=kept.id, run_id=None, reason=reason)

    async def _captured(
        self, row: TriggerRow, delivery: Delivery, event: RawMap, settings: WebhookSettings, message: Message
    ) -> Taken:
        """Look only: keep it, and say what would have come of it."""
        reason, hides = "ok", False
        try:
            ready = await self._ready(row, settings, event, message)
            reason, hides = ready.reason or "ok", ready.hides
        except _Refused as refused:
            masker = await self._starter.masker(row)
            reason, hides = masker.mask_text(f"{refused.reason}: {refused.error.message}")[:500], True
        captured = msgspec.structs.replace(delivery, verdict="captured", reason=reason)
        kept = await self._hidden(row, captured, hides=hides)
        await self._tables.change(lambda sql: deliveries.put_delivery(sql, kept))
        await self._registry.change(row, capture=row.capture - 1)
        return Taken(delivery_id=kept.id, run_id=None, reason="captured")

    async def _hidden(self, row: TriggerRow, delivery: Delivery, *, hides: bool) -> Delivery:
        """The delivery with its body sealed, if the flow declares that something in it is secret."""
        if not hides and not deliveries.is_sealed(delivery.body):
            return delivery
        sealing = self._starter.engine.sealing
        await sealing.ready(delivery.workspace)
        body = deliveries.sealed_body(delivery.body, sealing.sealer(delivery.workspace))
        masker = await self._starter.masker(row)
        query = {name: MASK if masker.declares(name) else value for name, value in delivery.query.items()}
        return msgspec.structs.replace(delivery, body=body, query=query)

    async def _earlier(self, row: TriggerRow, seen: str | None) -> Seen | None:
        if seen is None:
            return None
        return await self._tables.ask(lambda sql: deliveries.find_seen(sql, row.id, seen))

    async def _note_refused(self, row: TriggerRow, delivery: Delivery, refused: _Refused) -> None:
        _log.info("webhook %s of %s: refused: %s", row.id, row.flow_id, refused.reason)
        body = deliveries.shown_body(delivery.body, await self._starter.masker(row))
        kept = msgspec.structs.replace(delivery, verdict="refused", reason=refused.reason, body=body)

        def do(sql: Sql) -> None:
            deliveries.put_delivery(sql, kept)
            deliveries.drop_refused(sql, row.id)

        try:
            await self._tables.change(do)
        except StoreUnavailableError as error:
            _log.warning("webhook %s: a refused delivery was not kept: %s", row.id, error)

    # ------------------------------------------------------------ once more

    async def replay(self, workspace: str, id: str, read: Read) -> Taken:
        """Start a new run with what came, linked to the old delivery.

        Raises NotFoundError, ConflictError for a refused one, and what `take` raises for a sender that is known.
        """
        old = await self._tables.ask(lambda sql: deliveries.get_delivery(sql, workspace, id))
        if old.verdict == "refused":
            raise ConflictError(f"the delivery {id} was refused ({old.reason}): nobody says whose it is")
        row = self._registry.get(old.trigger_id, workspace)
        now = self._now()
        kept = msgspec.structs.replace(
            old, id=new_id(now, "dlv_"), at=now, verdict="replayed", reason="ok", replay_of=old.id,
            run_id=new_run_id(now),
        )  # fmt: skip
        sealer = self._starter.engine.sealing.sealer(workspace)
        body = read(old.content_type, deliveries.opened_body(old.body, sealer))
        event = made_event(row, kept, body, dict(old.headers), dict(old.query)) | {"replay_of": old.id}
        ready = await self._starter.ready(row, event)
        if ready.version is None:
            raise ConflictError(f"no run begins: {ready.reason}")

        def also(sql: Sql) -> None:
            deliveries.put_delivery(sql, kept)
            note_fired(sql, row.id, kept.at, kept.run_id)

        run_id = await self._starter.start(row, ready, event, run_id=kept.run_id, also=also)
        return Taken(delivery_id=kept.id, run_id=run_id)


def _again(earlier: Seen, settings: WebhookSettings) -> Taken:
    return Taken(
        delivery_id=earlier.delivery_id, run_id=earlier.run_id, answer=settings.answer,
        answer_seconds=settings.answer_seconds, repeated=True,
    )  # fmt: skip


def _echo_of(settings: WebhookSettings, message: Message) -> Echo | None:
    """Raises RequestError for a challenge that is not to be sent back."""
    source = settings.challenge
    if settings.auth.kind == "slack" and message.field("type") == "url_verification":
        source = Source(field="challenge")
    word = None if source is None else message.word(source)
    if word is None:
        return None
    if not _ECHOED.match(word):
        raise RequestError("the challenge is no plain word")
    return Echo(word)
