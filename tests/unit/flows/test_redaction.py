"""What of a flow's text is given away: no secret, and everything else."""

from __future__ import annotations

from typing import Final

import pytest

from segue.flow import read_flow
from segue.flows.exporting import exported
from segue.flows.redaction import BY_LOOK, BY_NAME, BY_VALUE, without_secrets

HEAD: Final = "flow: f\nsteps:\n"
CANARY: Final = "c4n4ry-9f3b1c7e"
STORED: Final = "a-stored-value-17"


@pytest.mark.req("FLOW-8.no-secrets")
@pytest.mark.parametrize(
    ("line", "path", "why"),
    [
        (f"  - a: {{http: {{url: 'https://bob:{CANARY}@x.test/'}}}}", "steps[0].a.http.url", BY_LOOK),
        (f"  - a: {{http: {{url: 'https://x.test/?q=1&access_token={CANARY}'}}}}", "steps[0].a.http.url", BY_LOOK),
        (f"  - a: {{http: {{headers: {{X-Own: Bearer {CANARY}}}}}}}", "steps[0].a.http.headers.X-Own", BY_LOOK),
        (f"  - a: {{http: {{headers: {{Authorization: {CANARY}}}}}}}", "steps[0].a.http.headers.Authorization",
         BY_NAME),
        (f"  - a: {{http: {{headers: [{{name: Cookie, value: {CANARY}}}]}}}}", "steps[0].a.http.headers[0].value",
         BY_NAME),
        (f"  - a: {{http: {{auth: {{type: basic, password: pa$${CANARY}}}}}}}",
         "steps[0].a.http.auth.password", BY_NAME),
        (f"  - a: {{set: {{password: [{CANARY}, $inputs.x]}}}}", "steps[0].a.set.password[0]", BY_NAME),
        (f"  - a: {{set: {{x: 'the value {STORED} in a text'}}}}", "steps[0].a.set.x", BY_VALUE),
        (f"  - a: {{set: {{body: '{{\"password\": \"{CANARY}\"}}'}}}}", "steps[0].a.set.body", BY_LOOK),
        ("  - a: {set: {x: sk_live_c4n4ry9f3b1c7e}}", "steps[0].a.set.x", BY_LOOK),
        (f"  - a:\n      set:\n        body: |\n          one\n          token: {CANARY}\n          two",
         "steps[0].a.set.body", BY_LOOK),
        (f"  - a: {{log: hi}} # password: {CANARY}", "line 3", BY_LOOK),
        (f"  - a: {{set: {{Authorization: 'Token {CANARY} {{{{ inputs.x }}}}'}}}}",
         "steps[0].a.set.Authorization", BY_NAME),
        (f"triggers: [{{webhook: {{auth: {{kind: hmac, secret: {CANARY}}}}}}}]", "triggers[0].webhook.auth.secret",
         BY_NAME),
        (f"inputs: {{api_key: {{type: string, default: {CANARY}}}}}", "inputs.api_key.default", BY_NAME),
        (f"secrets: {{key: {CANARY}}}", "secrets.key", BY_NAME),
    ],
)  # fmt: skip
def test_a_secret_is_found_wherever_it_stands(line: str, path: str, why: str) -> None:
    text = f"{HEAD}{line}\n" if line.startswith(" ") else f"flow: f\n{line}\nsteps: []\n"
    given = without_secrets(text, [STORED])
    assert "c4n4ry" not in given.text
    assert STORED not in given.text
    assert [(one.path, one.why) for one in given.replaced] == [(path, why)]
    document = read_flow(given.text).document
    assert document is not None
    assert "***" in given.text
    # What is given away is clean, and stays as it is when it is given away again.
    assert without_secrets(given.text, [STORED]).text == given.text
    assert "c4n4ry" not in exported(text, "json", [STORED]).text


@pytest.mark.req("FLOW-8.no-secrets", "FLOW-8.stable")
@pytest.mark.parametrize(
    "line",
    [
        "  - a: {http: {headers: {authorization: 'Bearer {{ secrets.token }}'}}}",
        "  - a: {http: {headers: {authorization: $secrets.token}}}",
        "  - a: {http: {auth: {type: basic, username: bob, password: $secrets.password}}}",
        "  - a: {set: {token: '{{ secrets.a }}:{{ secrets.b }}'}}",
        "  - a: {when: inputs.token == 'x' || steps.token != null, log: hi}",
        "  - a: {switch: {on: $inputs.kind, cases: {token: [{log: x}]}}}",
        "  - a: {set: {page_token: abc, tokens: 5, has_password: true, note: 'the password is elsewhere'}}",
        "  - get_token: {http: {method: POST, url: 'https://x.test'}}",
        "  - get_token: other_step",
        "  - token: {params: {name: Ada}}",
        "secrets: {a: env:A, b: {from: 'secret:b'}, c: shop.token, d: 'vault:kv/x#y'}",
        "inputs: {password: string, api_key: {type: string, description: the key}}",
        "triggers: [{webhook: {auth: stripe, secret: $secrets.hook}}]",
        "triggers: [{webhook: {auth: {kind: hmac, header: X-Signature, algorithm: sha256}}}]",
    ],
)
def test_references_and_words_about_secrets_stay_byte_for_byte(line: str) -> None:
    text = f"# a token is needed\n{HEAD}{line}\n" if line.startswith(" ") else f"flow: f\n{line}\nsteps: []\n"
    given = without_secrets(text, [STORED])
    assert (given.text, given.replaced) == (text, ())


@pytest.mark.req("FLOW-8.no-secrets")
@pytest.mark.parametrize("text", [f"a: [\n password: {CANARY}\n", f"\tflow: x\nurl: https://u:{CANARY}@x.test\n"])
def test_a_text_that_cannot_be_read_is_searched_all_the_same(text: str) -> None:
    given = without_secrets(text)
    assert CANARY not in given.text
    assert [one.path for one in given.replaced] == [""]


@pytest.mark.req("FLOW-8.no-secrets")
def test_the_notation_of_the_rest_stays() -> None:
    text = '\ufeff{"flow": "f", "password": "c4n4ry",\r\n  "steps": [ {"log" : "x"} ]}\r\n'
    assert without_secrets(text).text == text.replace("c4n4ry", "***")
