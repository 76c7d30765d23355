"""Commands for what starts runs: `trigger`, `schedule`, `delivery`, `event`. They go through the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from segue.cli.options import DatabaseOption, JsonOption, WorkspaceOption
from segue.cli.through_api import LIST_MAX, ask, tell, through_api

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

KINDS: Final = ("webhook", "cron", "event", "flow", "manual")
VERDICTS: Final = ("accepted", "ignored", "refused", "captured", "replayed")
_BODY_SHOWN: Final = 4_000

TriggerArgument = Annotated[
    str, typer.Argument(metavar="TRIGGER", help="An id, FLOW/NAME, or FLOW if it has just one trigger.")
]
ScheduleArgument = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="An id, FLOW/NAME, or FLOW if it has just one schedule.")
]
DeliveryArgument = Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id, or last.")]
FlowOption = Annotated[str | None, typer.Option("--flow", metavar="FLOW", help="Only of this flow.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=LIST_MAX, help="How many at most.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="The event's body: JSON, @FILE, or - for stdin. Default: null.")
]


# ---------------------------------------------------------------- trigger


def trigger_list(
    flow: FlowOption = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help=f"{', '.join(KINDS)}.")] = None,
    limit: LimitOption = 50,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """List what starts runs, the newest first."""
    _refuse_unknown(kind, KINDS, "--kind")
    found = ask(database, workspace, "GET", f"/api/v1/triggers?{_query(flow=flow, kind=kind, limit=limit)}")
    return tell(found, json=json, text="\n".join(map(_trigger_line, found["triggers"])) or "no triggers")


def trigger_show(
    trigger: TriggerArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Show one, with a webhook's address."""
    found = _with_trigger(trigger, workspace, database, "GET")
    lines = [_trigger_line(found)]
    lines += [f"{name}: {found[key]}" for name, key in _SHOWN if found.get(key) is not None]
    lines += [f"settings: {_json(found['settings'])}"] if found["settings"] else []
    return tell(found, json=json, text="\n".join(lines))


def trigger_fire(
    trigger: TriggerArgument,
    data: DataOption = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="A webhook's header. Repeatable.")
    ] = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start a run as if the trigger had: its `when` and `inputs` are computed over --data. It may rest."""
    from segue.cli.control import payload_of

    headers: dict[str, str] = {}
    for one in header or ():
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"{one!r} is no NAME:VALUE", param_hint="--header")
        headers[name.strip()] = value.strip()
    body = {"data": payload_of(data), "headers": headers}
    found = _with_trigger(trigger, workspace, database, "POST", "/fire", body, starts=True)
    return tell(found, json=json, text=found["run_id"])


def trigger_enable(
    trigger: TriggerArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Let it start runs again."""
    found = _with_trigger(trigger, workspace, database, "PATCH", body={"enabled": True})
    return tell(found, json=json, text=f"{found['id']} is enabled")


def trigger_disable(
    trigger: TriggerArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Let it rest: it starts no runs until it is enabled."""
    found = _with_trigger(trigger, workspace, database, "PATCH", body={"enabled": False})
    return tell(found, json=json, text=f"{found['id']} is disabled")


# ---------------------------------------------------------------- schedule


def schedule_list(
    flow: FlowOption = None,
    limit: LimitOption = 50,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """List what starts runs by the clock, and when each is due next."""
    found = ask(database, workspace, "GET", f"/api/v1/schedules?{_query(flow=flow, limit=limit)}")
    return tell(found, json=json, text="\n".join(map(_schedule_line, found["schedules"])) or "no schedules")


def schedule_next(
    schedule: ScheduleArgument,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many.")] = 5,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Print the coming times by the schedule's own clock, also of one that is paused."""
    found = _with_schedule(schedule, workspace, database, "GET", f"/next?count={count}")
    return tell(found, json=json, text="\n".join(found["times"]) or "never again")


def schedule_pause(
    schedule: ScheduleArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start nothing by it until it is resumed. What is due meanwhile is not made up for."""
    found = _with_schedule(schedule, workspace, database, "PATCH", body={"paused": True})
    return tell(found, json=json, text=f"{found['id']} is paused")


def schedule_resume(
    schedule: ScheduleArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Let it start runs again, from its next time on."""
    found = _with_schedule(schedule, workspace, database, "PATCH", body={"paused": False})
    due = f"; next at {found['next_at']}" if found["next_at"] else ""
    return tell(found, json=json, text=f"{found['id']} goes on{due}")


def schedule_run_now(
    schedule: ScheduleArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start a run now, beside those by the clock."""
    found = _with_schedule(schedule, workspace, database, "POST", "/run", starts=True)
    return tell(found, json=json, text=found["run_id"])


# ---------------------------------------------------------------- delivery and event


def delivery_list(
    trigger: Annotated[str | None, typer.Option("--trigger", metavar="TRIGGER", help="Only of this webhook.")] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", metavar="VERDICT", help=f"Only {', '.join(VERDICTS)}.")
    ] = None,
    limit: LimitOption = 50,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """List what came to webhooks, the newest first, the refused ones with the reason."""
    _refuse_unknown(verdict, VERDICTS, "--verdict")

    async def work(remote: RemoteHost) -> dict[str, Any]:
        id = None if trigger is None else (await _find(remote, trigger, "triggers"))["id"]
        query = _query(trigger=id, verdict=verdict, limit=limit)
        return await remote.ask("GET", f"/api/v1/deliveries?{query}", dict[str, Any])

    found = through_api(database, workspace, work)
    return tell(found, json=json, text="\n".join(map(_delivery_line, found["deliveries"])) or "no deliveries")


def delivery_show(
    delivery: DeliveryArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Show one as it came, without what proves its sender."""
    found = _with_delivery(delivery, workspace, database, "GET")
    lines = [_delivery_line(found), *(f"{name}: {value}" for name, value in found["headers"].items()), ""]
    body = found["body"]
    lines.append(
        body[:_BODY_SHOWN] + (f"\n… {len(body) - _BODY_SHOWN} more; --json has all" * (len(body) > _BODY_SHOWN))
    )
    return tell(found, json=json, text="\n".join(lines))


def delivery_replay(
    delivery: DeliveryArgument,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start a new run with what came then; its id is printed."""
    found = _with_delivery(delivery, workspace, database, "POST", "/replay", starts=True)
    return tell(found, json=json, text=found["run_id"])


def event_send(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name, such as order.paid.")],
    data: DataOption = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An id of your own: sent again, it changes nothing.")
    ] = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Send an event to all steps and triggers that wait for one of this name. As `segue emit`, for any workspace."""
    from segue.cli.control import payload_of

    body = {"event": name, "data": payload_of(data)} | ({} if id is None else {"id": id})
    found = ask(database, workspace, "POST", "/api/v1/events", body, starts=True)
    return tell({**found, "event": name}, json=json, text=f"{name} is sent: {found['id']}")


_Commands = Mapping[str, Callable[..., int]]
trigger: Final[_Commands] = MappingProxyType(
    {"list": trigger_list, "show": trigger_show, "fire": trigger_fire, "enable": trigger_enable,
     "disable": trigger_disable}
)  # fmt: skip
"""What starts runs: look at it, start a run by hand, switch it on and off."""
schedule: Final[_Commands] = MappingProxyType(
    {"list": schedule_list, "next": schedule_next, "pause": schedule_pause, "resume": schedule_resume,
     "run-now": schedule_run_now}
)  # fmt: skip
"""What starts runs by the clock."""
delivery: Final[_Commands] = MappingProxyType({"list": delivery_list, "show": delivery_show, "replay": delivery_replay})
"""What came to webhooks."""
event: Final[_Commands] = MappingProxyType({"send": event_send})
"""Events from outside."""


# ---------------------------------------------------------------- finding and showing


def _with_trigger(
    wanted: str, workspace: str, database: str | None, method: str, rest: str = "", body: object = None,
    *, starts: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return _with_one(wanted, "triggers", workspace, database, method, rest, body, starts=starts)


def _with_schedule(
    wanted: str, workspace: str, database: str | None, method: str, rest: str = "", body: object = None,
    *, starts: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return _with_one(wanted, "schedules", workspace, database, method, rest, body, starts=starts)


def _with_delivery(
    wanted: str, workspace: str, database: str | None, method: str, rest: str = "", *, starts: bool = False
) -> dict[str, Any]:
    return _with_one(wanted, "deliveries", workspace, database, method, rest, None, starts=starts)


def _with_one(
    wanted: str, kind: str, workspace: str, database: str | None, method: str, rest: str, body: object,
    *, starts: bool,
) -> dict[str, Any]:  # fmt: skip
    """One request to the trigger, schedule or delivery that is meant."""

    async def work(remote: RemoteHost) -> dict[str, Any]:
        id = (await _find(remote, wanted, kind))["id"]
        path = f"/api/v1/{kind}/{quote(id, safe='')}{rest}"
        if body is None:
            return await remote.ask(method, path, dict[str, Any])
        return await remote.ask(method, path, dict[str, Any], json=body)

    return through_api(database, workspace, work, starts=starts)


async def _find(remote: RemoteHost, wanted: str, kind: str) -> dict[str, Any]:
    """By its id, by flow and name, or by its flow. Raises NotFoundError, RequestError if it may be several."""
    from segue.errors import NotFoundError, RequestError

    if kind == "deliveries":
        if wanted != "last":
            return {"id": wanted}
        newest = (await remote.ask("GET", "/api/v1/deliveries?limit=1", dict[str, Any]))["deliveries"]
        if not newest:
            raise NotFoundError("nothing came to a webhook yet")
        return newest[0]
    if wanted.startswith("trg_"):
        return {"id": wanted}
    flow, slash, name = wanted.rpartition("/")
    query = _query(flow=flow if slash else wanted, limit=LIST_MAX)
    found = (await remote.ask("GET", f"/api/v1/{kind}?{query}", dict[str, Any]))[kind]
    fitting = [one for one in found if not slash or one["name"] == name]
    if not fitting:
        names = ", ".join(f"{one['flow']}/{one['name']}" for one in found)
        known = f"; the flow has {names}" if names else ""
        raise NotFoundError(f"there is no {kind.removesuffix('s')} {wanted!r}{known}")
    if len(fitting) > 1:
        names = ", ".join(f"{one['flow']}/{one['name']}" for one in fitting)
        raise RequestError(f"the flow {wanted!r} has several {kind}; name one: {names}")
    return fitting[0]


def _refuse_unknown(word: str | None, known: tuple[str, ...], option: str) -> None:
    if word is not None and word not in known:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}", param_hint=option)


def _query(**values: str | int | None) -> str:
    return urlencode({name: value for name, value in values.items() if value is not None})


def _trigger_line(one: dict[str, Any]) -> str:
    state = "rests" if not one["declared"] else "enabled" if one["enabled"] else "disabled"
    settings = one["settings"]
    told = next((settings[key] for key in (one["kind"], "every", "at") if settings.get(key)), "")
    told = one["auth"] or "" if one["kind"] == "webhook" else told
    return f"{one['id']}  {one['flow']}/{one['name']}  {one['kind']}  {told}  {state}  {one['fired_count']} runs"


_SHOWN: Final = (
    ("address", "address"), ("when", "when"), ("last run", "last_run_id"), ("last fired", "fired_at"),
    ("last error", "last_error"),
)  # fmt: skip


def _schedule_line(one: dict[str, Any]) -> str:
    state = "rests" if not one["declared"] else "paused" if one["paused"] else one["next_at"] or "never again"
    error = f"  {one['last_error']}" if one["last_error"] else ""
    return f"{one['id']}  {one['flow']}/{one['name']}  {one['says']}  {state}{error}"


def _delivery_line(one: dict[str, Any]) -> str:
    reason = "" if one["reason"] == "ok" else f" ({one['reason']})"
    run = one["run_id"] or "no run"
    return f"{one['id']}  {one['at']}  {one['flow']}  {one['verdict']}{reason}  {one['body_bytes']} bytes  {run}"


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
