"""Every key of every kind of trigger: what is accepted is kept as it is meant, and the rest is refused by its name."""

from __future__ import annotations

import pytest
from tests.unit.flow.kit import problems_of

from segue.flow.forms.triggers import problems_of_settings
from segue.flow.model import Trigger
from segue.flow.read import read_flow


def trigger_of(written: str) -> Trigger:
    result = read_flow(f"flow: a\ntrigger: {written}\nsteps: [{{log: x}}]")
    assert result.flow is not None
    assert not result.has_errors, [str(one) for one in result.problems]
    return result.flow.triggers[0]


def codes_of(written: str) -> list[tuple[str, str]]:
    found = problems_of(f"flow: a\ntrigger: {written}\nsteps: [{{log: x}}]")
    return [(one.code, one.path) for one in found if one.severity == "error"]


@pytest.mark.req("TRIG-2.language", "TIME-5.language")
@pytest.mark.parametrize(
    ("written", "kind", "settings"),
    [
        ("webhook.received", "webhook", {}),
        ("webhook.order.paid", "webhook", {"events": ["order.paid"]}),
        ("{webhook: received}", "webhook", {}),
        ("{webhook: {provider: github, method: put, event: push, mode: result}}", "webhook",
         {"auth": "github", "methods": ["PUT"], "events": ["push"], "respond": "result"}),
        ("{webhook: {auth: none}, id: b}", "webhook", {"auth": "none", "name": "b"}),
        ("{webhook: {rate: 100/m, max_bytes: 65536, content_types: [application/json, text/*], encodings: gzip}}",
         "webhook", {"rate": "100/m", "max_bytes": 65536, "content_types": ["application/json", "text/*"],
                     "encodings": ["gzip"]}),
        ("{webhook: {dedupe: false}}", "webhook", {"dedupe": False}),
        ("{webhook: {dedupe: '{{ data.a }}-{{ data.b }}'}}", "webhook", {"dedupe": "{{ data.a }}-{{ data.b }}"}),
        ("{webhook: {challenge: {query: hub.challenge}}}", "webhook", {"challenge": {"query": "hub.challenge"}}),
        ("{every: 15m}", "cron", {"every": "15m"}),
        ("{every: PT90S, jitter: 5s, overlap: skip}", "cron", {"every": "PT90S", "jitter": "5s", "overlap": "skip"}),
        ("{at: 2027-01-01T09:00:00+01:00}", "cron", {"at": "2027-01-01T09:00:00+01:00"}),
        ("{at: '2027-01-01T09:00:00', timezone: Europe/Berlin}", "cron",
         {"at": "2027-01-01T09:00:00", "timezone": "Europe/Berlin"}),
        ("{cron: {schedule: 0 9 * * 1-5, catch_up: 3}}", "cron", {"cron": "0 9 * * 1-5", "catch_up": 3}),
        ("{cron: '@daily', timezone: +05:30, catch_up: none, until: 2030-01-01T00:00:00Z}", "cron",
         {"cron": "@daily", "timezone": "+05:30", "catch_up": "none", "until": "2030-01-01T00:00:00Z"}),
        ("order.created", "event", {"event": "order.created"}),
        ("{event: order.created, source: [billing, api]}", "event",
         {"event": "order.created", "source": ["billing", "api"]}),
        ("{flow: invoice, on: [failed, timed_out]}", "flow", {"flow": "invoice", "on": ["failed", "timed_out"]}),
        ("manual", "manual", {}),
    ],
)  # fmt: skip
def test_a_trigger_is_read_as_it_is_meant(written: str, kind: str, settings: dict[str, object]) -> None:
    found = trigger_of(written)

    assert (found.kind, found.settings) == (kind, settings)


@pytest.mark.req("TRIG-2.refused", "TIME-5.refused")
@pytest.mark.parametrize(
    ("written", "code", "path"),
    [
        ("{webhook: orders}", "FLW015", "trigger.webhook"),
        ("{webhook: {path: a/b}}", "FLW016", "trigger.webhook.path"),
        ("{webhook: {methods: [GET, FETCH]}}", "FLW016", "trigger.webhook.methods[1]"),
        ("{webhook: {methods: []}}", "FLW016", "trigger.webhook.methods"),
        ("{webhook: {method: GET, methods: POST}}", "FLW045", "trigger.webhook.methods"),
        ("{webhook: {auth: strype}}", "FLW016", "trigger.webhook.auth"),
        ("{webhook: {auth: {type: stripe, tolerence: 5m}}}", "FLW010", "trigger.webhook.auth.tolerence"),
        ("{webhook: {auth: {type: github, tolerance: 5m}}}", "FLW010", "trigger.webhook.auth.tolerance"),
        ("{webhook: {auth: {header: x}}}", "FLW011", "trigger.webhook.auth"),
        ("{webhook: {auth: {type: hmac, algorithm: md5}}}", "FLW016", "trigger.webhook.auth.algorithm"),
        ("{webhook: {auth: {type: hmac, signed: '{time}'}}}", "FLW016", "trigger.webhook.auth.signed"),
        ("{webhook: {auth: {type: hmac, time_header: x-at}}}", "FLW045", "trigger.webhook.auth.time_header"),
        ("{webhook: {auth: {type: hmac, signed: '{time}.{body}'}}}", "FLW011", "trigger.webhook.auth"),
        ("{webhook: {auth: {type: hmac, header: 'x y'}}}", "FLW016", "trigger.webhook.auth.header"),
        ("{webhook: {auth: {type: hmac, algorithm: ed25519}}}", "FLW045", "trigger.webhook.auth.algorithm"),
        ("{webhook: {auth: {type: token, query: t, header: x}}}", "FLW045", "trigger.webhook.auth.query"),
        ("{webhook: {auth: {type: jwt, algorithms: [none]}}}", "FLW016", "trigger.webhook.auth.algorithms[0]"),
        ("{webhook: {auth: {type: jwt, jwks: https://a.example/k, algorithms: [HS256]}}}", "FLW045",
         "trigger.webhook.auth.algorithms[0]"),
        ("{webhook: {auth: {type: jwt, jwks: {keys: [{kty: oct, k: aa}]}}}}", "FLW016",
         "trigger.webhook.auth.jwks.keys[0]"),
        ("{webhook: {auth: {type: jwt, jwks: {keys: [{kty: OKP, x: a, d: b}]}}}}", "FLW016",
         "trigger.webhook.auth.jwks.keys[0]"),
        ("{webhook: {auth: github, secret: whsec_plain}}", "FLW016", "trigger.webhook.secret"),
        ("{webhook: {respond: soon}}", "FLW016", "trigger.webhook.respond"),
        ("{webhook: {respond: flow, timeout: 1h}}", "FLW021", "trigger.webhook.timeout"),
        ("{webhook: {rate: often}}", "FLW016", "trigger.webhook.rate"),
        ("{webhook: {max_bytes: 99999999999}}", "FLW016", "trigger.webhook.max_bytes"),
        ("{webhook: {content_types: json}}", "FLW016", "trigger.webhook.content_types"),
        ("{webhook: {encodings: [br]}}", "FLW016", "trigger.webhook.encodings[0]"),
        ("{webhook: {dedupe: {cookie: a}}}", "FLW010", "trigger.webhook.dedupe.cookie"),
        ("{webhook: {dedupe: id}}", "FLW015", "trigger.webhook.dedupe"),
        ("{webhook: {inputs: [1]}}", "FLW015", "trigger.webhook.inputs"),
        ("{webhook: {inputs: {a: $inputs.b}}}", "FLW031", "trigger.webhook.inputs.a"),
        ("{webhook: {inputs: {a: '{{ data.x + }}'}}}", "FLW030", "trigger.webhook.inputs.a"),
        ("{webhook: {dedupe: $run.id}}", "FLW031", "trigger.webhook.dedupe"),
        ("{webhook: {path: a}, path: b}", "FLW045", "trigger.path"),
        ("{every: 100ms}", "FLW021", "trigger.every"),
        ("{every: 15}", "FLW019", "trigger.every"),
        ("{every: 1h, timezone: Europe/Berlin}", "FLW045", "trigger.timezone"),
        ("{at: 2027-01-01T09:00:00}", "FLW048", "trigger.at"),
        ("{at: tomorrow}", "FLW048", "trigger.at"),
        ("{at: 2027-01-01T09:00:00Z, until: 2028-01-01T09:00:00Z}", "FLW045", "trigger.until"),
        ("{cron: '@daily', from: 2028-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z}", "FLW016", "trigger.until"),
        ("{cron: '@daily', overlap: maybe}", "FLW016", "trigger.overlap"),
        ("{cron: '@daily', catch_up: 5000}", "FLW016", "trigger.catch_up"),
        ("{cron: '@daily', catch_up: some}", "FLW016", "trigger.catch_up"),
        ("{cron: '@daily', jitter: 3d}", "FLW021", "trigger.jitter"),
        ("{cron: '@daily', every: 1h}", "FLW045", "trigger.every"),
        ("{event: [a.b, c.d]}", "FLW015", "trigger.event"),
        ("{event: a.b, on: failed}", "FLW010", "trigger.on"),
        ("{flow: a, on: finished}", "FLW016", "trigger.on"),
        ("{flow: [a, b]}", "FLW015", "trigger.flow"),
        ("{manual: {form: {a: string}}}", "FLW010", "trigger.manual.form"),
        ("[{event: a.b, name: x}, {event: c.d, name: x}]", "FLW045", "trigger[1]"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused_where_it_stands(written: str, code: str, path: str) -> None:
    assert (code, path) in codes_of(written), codes_of(written)


@pytest.mark.req("TRIG-1.settings")
def test_settings_that_stand_in_no_flow_are_read_by_the_same_rules() -> None:
    trigger, problems = problems_of_settings("webhook", {"auth": "github", "respond": "soon", "rat": "1/s"})
    assert trigger is not None
    assert sorted((one.code, one.path) for one in problems) == [("FLW010", "rat"), ("FLW016", "respond")]

    trigger, problems = problems_of_settings("cron", {"every": "5m", "overlap": "replace"})
    assert problems == []
    assert trigger is not None
    assert trigger.settings == {"every": "5m", "overlap": "replace"}
