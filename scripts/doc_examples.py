"""What the pages of error codes show: for each code a text that triggers it, and what helps.

`scripts/generate_docs.py` runs every one of these and refuses to write a page on which an example does something else
than the page says.
"""

# ruff: noqa: E501 - rows of tables read better whole

from __future__ import annotations

from typing import Final, NamedTuple

from segue.flow.yaml_source import MAX_CHARACTERS


class Expression(NamedTuple):
    """An expression that gives an error code, with the names it needs, and what helps."""

    example: str
    fix: str
    names: dict[str, object] = {}  # noqa: RUF012 - read only
    shown: str = ""
    """What the page shows, if the example is too long to be read."""


STEP: Final = "flow: order\nsteps:\n"

FLOWS: Final[dict[str, str]] = {
    "FLW001": "flow: order\nsteps:\n  - log: order: received\n",
    "FLW049": STEP + '  - charge: {call: shop.charge}\n  - log: "Paid: $charge.reference"\n',
    "FLW002": STEP + "  - charge:\n      call: shop.charge\n      call: shop.refund\n",
    "FLW004": STEP + "  - log: {{ 1 + 1 }}\n",
    "FLW005": "flow: order\n<<: {owner: finance}\nsteps:\n  - log: received\n",
    "FLW007": STEP + "  - set: {account: 123456789012345678901}\n",
    "FLW010": STEP + "  - charge:\n      call: shop.charge\n      retyr: 3\n",
    "FLW011": STEP + "  - fetch:\n      http: {method: GET}\n",
    "FLW012": STEP + "  - charge:\n      call: shpo.charge\n",
    "FLW013": STEP + "  - charge:\n      call: shop.chrage\n",
    "FLW014": STEP + "  - notify_finance\n",
    "FLW015": STEP + "  - charge:\n      call: shop.charge\n      disabled: no\n",
    "FLW016": STEP + "  - charge:\n      call: shop.charge\n      on_timeout: explode\n",
    "FLW017": STEP + "  - charge:\n      call: shop.charge\n      log: charged\n",
    "FLW018": STEP + "  - retry: 3\n",
    "FLW019": STEP + "  - charge:\n      call: shop.charge\n      timeout: 30\n",
    "FLW020": STEP + "  - pause:\n      wait: a while\n",
    "FLW021": STEP + "  - pause:\n      wait: 9000d\n",
    "FLW022": STEP + "  - charge-card:\n      call: shop.charge\n",
    "FLW023": STEP + "  - inputs:\n      log: hello\n",
    "FLW024": STEP + "  - charge: {call: shop.charge}\n  - charge: {log: charged}\n",
    "FLW025": STEP + "  - charge: {call: shop.charge}\n  - receipt: {log: paid, needs: [chrage]}\n",
    "FLW026": STEP + "  - first: {log: one, needs: [second]}\n  - second: {log: two, needs: [first]}\n",
    "FLW027": STEP + "  - return: done\n  - log: never written\n",
    "FLW028": STEP + "  - parallel:\n      branches: [{log: one}, {log: two}]\n      join: 3\n",
    "FLW029": (
        "flow: order\nnodes:\n  - {id: paid, type: Condition, data: {condition: 'true'}}\n  - {id: ship, type: start}\n"
        "edges:\n  - {source: paid, target: ship, sourceHandle: perhaps}\n"
    ),
    "FLW030": STEP + "  - charge:\n      call: shop.charge\n      when: 1 +\n",
    "FLW031": STEP + "  - charge: {call: shop.charge}\n  - log: $chrage.reference\n",
    "FLW032": STEP + "  - log: $charge.reference\n  - charge: {call: shop.charge}\n",
    "FLW033": "flow: order\ninputs: {amount: number}\nsteps:\n  - log: $inputs.amuont\n",
    "FLW034": STEP + "  - charge: {call: shop.charge}\n  - log: $charge.refrence\n",
    "FLW035": STEP + "  - charge:\n      call: shop.charge\n      params: {amount: ten}\n",
    "FLW038": STEP + "  - render:\n      wait: 1s\n      runs_on: gpu\n",
    "FLW039": "flow: order\ndefinitions:\n  first: {use: second}\n  second: {use: first}\nsteps:\n  - first\n",
    "FLW040": "flow: order\n",
    "FLW043": "flow: order\ninputs: {amount: nubmer}\nsteps:\n  - log: received\n",
    "FLW044": STEP + "  - parallel: []\n",
    "FLW045": STEP + "  - send:\n      http: {url: 'https://example.com', json: {a: 1}, body: text}\n",
    "FLW046": STEP + "  - send:\n      http: {url: 'https://example.com', auth: {bearer: $secrets.token}}\n",
    "FLW048": "flow: order\ntrigger: {cron: every morning}\nsteps:\n  - log: good morning\n",
}
"""A flow for each code of the checker."""

LARGE_FLOWS: Final[dict[str, tuple[str, str]]] = {
    "FLW003": ("a: " + "x" * MAX_CHARACTERS, f"A text of more than {MAX_CHARACTERS:,} characters."),
    "FLW006": ("flow: order\x02\n", "A control character (here U+0002) behind `flow: order`."),
    "FLW036": (STEP + "  - log: x\n" * 51, "A flow of 51 steps."),
    "FLW037": (STEP + "  - log: x\n" * 2_001, "A flow of 2,001 steps."),
}
"""Flows that are too long, or not printable, with the words that stand for them on the page."""

EXPRESSIONS: Final[dict[str, Expression]] = {
    "EXP001": Expression("total = 3", "Remove the character; `=` is written `==`, `&` is `&&` or `and`."),
    "EXP002": Expression("name == 'Ada", "Close the string with the quote that opens it."),
    "EXP003": Expression(r"'C:\new\quota'", r"Write a backslash as `\\`, or the text as raw: `r'C:\new'`."),
    "EXP004": Expression("9223372036854775808", "Integers have 64 bits; write a double (`9.3e18`) or a string."),
    "EXP005": Expression("[1 2]", "Add what is missing between the two, often a comma or an operator."),
    "EXP006": Expression("total >", "Write the rest, or close the bracket."),
    "EXP007": Expression("uper('a')", "Use the function suggested; the reference lists all of them."),
    "EXP008": Expression("upper('a', 'b')", "Give as many arguments as the signature in the reference names."),
    "EXP009": Expression("[1, 2].map(x)", "Write the macro as in the reference: `list.map(x, x * 2)`."),
    "EXP010": Expression("", "Write the expression as text; a list or map cannot stand where a condition is wanted."),
    "EXP011": Expression("", "Close the braces: `{{ expression }}`; braces as text are written `{{ \"{{\" }}`."),
    "EXP101": Expression("1 + ordr.total", "Use the name suggested; names are step ids and what is always in scope.", {"order": {}}),
    "EXP102": Expression("'3' + 4", "Convert one side: `int('3') + 4`, or `string(4)`."),
    "EXP103": Expression("upper(2)", "Convert the argument, or give a missing value a default: `upper(name ?? '')`."),
    "EXP104": Expression("9223372036854775807 + 1", "Compute with doubles: `double(x) + 1.0`."),
    "EXP105": Expression("10 / 0", "Ask first: `n == 0 ? 0 : total / n`."),
    "EXP106": Expression("int('abc')", "Check the text first, for example with `matches('^[0-9]+$')`."),
    "EXP107": Expression("now()", "Use them in a step's values, where they are the same at every replay, not in a cached place."),
    "EXP108": Expression("order.total.cents", "Take the field of a map, the element of a list; see what the step really gave.",
                         {"order": {"total": 3}}),
    "EXP109": Expression("", "Compare: `size(items) > 0`, `name != ''`."),
    "EXP110": Expression("'a'.matches('(')", "Mend the pattern; look-around and back references do not exist in RE2."),
    "EXP111": Expression("{'a': 1, 'a': 2}", "Write each key once; keys are strings, integers or booleans."),
    "EXP112": Expression("date('2025-01-31T00:00:00Z', 'Mars/Olympus')", "Use a zone of the IANA database, such as `Europe/Berlin`."),
    "EXP201": Expression("range(0, 400).map(x, range(0, 400)).size()", "Work on less data in one expression, or use `foreach`.",
                         shown="range(0, 400).map(x, range(0, 400)).size()"),
    "EXP202": Expression("(" * 300 + "1" + ")" * 300, "Split the expression over several `set` steps.",
                         shown="((((… 300 brackets …))))"),
    "EXP203": Expression("'a'.repeat(2000000)",
                         "Pass large values on by plain reference (`$step.body`), or take the parts that are needed."),
    "EXP204": Expression("1 + " * 20_000 + "1", "Split the expression.", shown="1 + 1 + 1 + … (80,000 characters)"),
}  # fmt: skip
"""An expression for each code of the expression language."""

VALUES: Final[dict[str, tuple[object, str]]] = {
    "EXP010": (["$a"], "`when: [$a]`"),
    "EXP011": ("order {{ order.id", '`message: "order {{ order.id"`'),
    "EXP109": ("'yes'", "`when: \"'yes'\"`"),
}
"""Codes that arise where a value or a condition stands, not in the expression itself."""

PLANS: Final[dict[str, tuple[str, str, str]]] = {
    "PLN002": (
        "An edge of a flow that a program has built ends at a step that is not there. In a file the checker reports it"
        " as FLW025 before.",
        "Add the step, or remove the edge.",
        "",
    ),
    "PLN003": (
        "An expression does not compile. In a file the checker reports it as FLW030 before, with its place.",
        "Mend the expression; the message says where.",
        STEP + '  - log: "{{ 1 + }}"\n',
    ),
}

HELP: Final[dict[str, str]] = {
    "run-queued": "A host takes it up: `segue serve`, or `segue run --continue`.",
    "run-waiting-callback": "Send the answer: `segue callback TOKEN --data '{…}'`, or a POST to the callback's address.",
    "run-waiting-time": "Wait; the time is in the sentence. A host must be running then.",
    "run-waiting-retry": "Wait, or `segue cancel RUN`. The step's last error says what is wrong outside.",
    "run-waiting-poll": "Wait, or look at the outside job.",
    "run-paused": "`segue resume RUN`.",
    "run-succeeded-with-failures": "Look at the failed steps: `segue show RUN`.",
    "run-recovered": "Look at the steps that were recovered: `segue show RUN`.",
    "run-failed": "`segue why RUN` names the step and its error; mend the cause, then `segue retry RUN`.",
    "run-cancelled": "Start the flow again, if it was cancelled by mistake.",
    "run-timed-out": "Raise the flow's `timeout`, or find the step that took so long: `segue show RUN`.",
    "run-quarantined": "Keep a copy of the database, then `segue rollback RUN`: it goes on from its last valid event.",
    "step-waiting-inputs": "Look at the steps that it names.",
    "step-waiting-slot": "Raise `limit`, `limits.steps`, or the priority, if it should start sooner.",
    "step-held-by-pause": "`segue resume RUN`.",
    "step-waiting-retry": "Wait; the step's last error says what is wrong outside.",
    "step-waiting-time": "Wait; the time is in the sentence.",
    "step-waiting-callback": "Send the answer: `segue callback TOKEN --data '{…}'`, or a POST to the callback's address.",
    "step-waiting-poll": "Wait, or look at the outside job.",
    "step-branch-not-taken": "Look at the condition: `segue why RUN STEP` on the step that chose.",
    "step-skipped-disabled": "Remove `disabled: true`.",
    "step-skipped-condition": "Look at the values in its `when`; the sentence names them.",
    "step-skipped-path-not-taken": "Look at the condition that chose the other path.",
    "step-skipped-dependency-failed": "Mend the step that failed.",
    "step-failed": "Mend the cause that the error names. If trying again can help, give the step a `retry`.",
    "step-failed-after-retries": "Mend the cause that the error names, or allow more tries.",
    "step-failed-inside": "Look at the step inside it that failed.",
    "step-unknown-outcome": "Find out at the other side whether it took effect, before doing it again.",
    "step-timed-out": "Raise `timeout`, or say `on_timeout: continue` or `default`.",
    "step-callback-expired": "Raise `expires`, or say what happens then: `on_timeout`.",
    "step-no-items": "Look at the list that the loop was given.",
}
"""What helps, for the reasons that somebody can do something about."""

CATEGORIES: Final[tuple[tuple[str, str, bool, str], ...]] = (
    ("timeout", "No result in time.", True, "Raise `timeout`; see whether the other side is slow."),
    ("connection", "No connection, or it broke off.", True, "See whether the service runs and can be reached."),
    ("dns", "The name has no address.", True, "Check the host's name."),
    ("rate_limit", "The other side asks for patience (status 429).", True, "Send less, or allow more and later tries."),
    ("tls", "The certificate or the handshake was refused.", False, "Check the certificate and the port."),
    ("http.4xx", "A status from 400 to 499; `http.404` names one. 408 and 425 are retried by default.", False,
     "Mend the request; the answer's body says why."),
    ("http.5xx", "A status from 500 to 599.", True, "The other side has a fault; look at its answer."),
    ("auth", "The credentials were refused.", False, "Renew or correct them."),
    ("validation", "The request or the parameters cannot be used.", False, "Mend them as the message says."),
    ("expression", "An expression has no value; the code is one of the EXP codes.", False, "See the page of the code."),
    ("cancelled", "The attempt was cut off on purpose.", False, "Nothing."),
    ("unknown_outcome", "It was sent, and no answer came; it may have taken effect.", False,
     "Find out at the other side before doing it again."),
    ("adapter.CODE", "What the adapter or Python function says: `adapter.card_declined`, `adapter.KeyError`.", False,
     "See the adapter's page, or the function. Other exceptions of Python functions are retried; `TerminalError` never."),
    ("internal", "A mistake of Segue or of this machine.", False, "Look at the log of the host, and report it."),
)  # fmt: skip
"""Category, meaning, whether a retry policy without `on` tries it again, what helps."""

STEP_CODES: Final[dict[str, tuple[str, str]]] = {
    "attempt_timeout": ("One try took longer than `timeout`.", "Raise `timeout: {attempt: …}`, or retry."),
    "total_timeout": ("All tries together took longer than `timeout: {total: …}`.", "Raise it, or allow fewer tries."),
    "run_timeout": ("The run took longer than the flow's `timeout`.", "Raise it; `segue show` tells which step took so long."),
    "event_name": ("The name of an event to be sent or waited for is no text of 1 to 200 characters.", "Look at what computes it."),
    "event_too_large": ("The body of an event has more than 256 KiB as JSON.", "Send where the data lies instead of the data."),
    "response_headers": ("The headers of an answer are no map of names and texts.", "Look at what computes them."),
    "response_status": ("The status of an answer is no number from 200 to 599.", "Look at what computes it."),
    "sub_flow": ("The other flow's run could not be begun: no such flow, inputs that it does not take, too deep.", "The message names what is wrong; `details` holds every mistake."),
    "sub_flow_cancelled": ("The other flow's run was cancelled.", "`segue why` of that run, which the message names, says by whom."),
    "sub_flow_gone": ("How the other flow's run ended is not in the database any more.", "Start the flow again."),
    "no_connection": ("The step names a connection that the workspace does not have, or whose credentials cannot be used.", "Make or mend it with `POST /api/v1/connections`; the message says what it lacks."),
    "callback_expired": ("The outside answer did not come in time.", "Raise `expires`, or say `on_timeout`."),
    "poll_failed": ("The poll's `failure_condition` held.", "See the outside job; its answer is in the step's log."),
    "poll_exhausted": ("The poll asked `max_attempts` times.", "Raise `max_attempts` or `interval`; check the condition."),
    "cut_off": ("The run was rolled back to an event in the middle of an undoing, of which nothing more is known.", "Look at what it undoes, and finish it by hand."),
    "repeat_exhausted": ("The loop reached `max` or `within` and its condition did not end it.", "Raise them; check the condition."),
    "key_too_long": ("What a step's `limits.key` gives has more than 1,000 characters.",
                     "Count by an id or a name rather than by a whole object."),
    "limit_reached": ("No slot of the step's `limits` was free, and it says `on_full: reject`.",
                      "Try later, raise the limit, or let it wait with `on_full: queue`."),
    "slot_taken": ("A newer attempt took its slot, as `on_full: replace` says.",
                   "Nothing, if the newest is what counts; else let it wait with `on_full: queue`."),
    "host_stopped": ("The process ended during an attempt: of an unsafe action, or for the tenth time.",
                     "Find out at the other side what happened; see why the process ends."),
    "invalid_duration": ("A computed duration is none.", "Give it a unit: `{{ inputs.seconds }}s`."),
    "invalid_params": ("The parameters do not fit the action.", "Mend them as the message says."),
    "foreign_origin": ("A connection's secret would be sent to another origin than the connection's own.", "Send it to the connection's address, or make a connection for the other one."),
    "secret_key": ("A key that everyone sees (`limits.key`, `correlate`, `foreach.key`, an event's name) holds a secret.", "Use something else that tells the items apart."),
    "result_not_json": ("The action gave something that JSON cannot hold.", "Return maps, lists, texts, numbers, truth values, null."),
    "result_too_deep": ("The action's result is nested too deep.", "Return less of it."),
    "result_too_large": ("The action's result is too large to be kept.", "Return a reference to it, such as an address."),
    "unexpected_status": ("The answer's status is none of those that `expect` names.", "See the answer; name the status in `expect` if it is good."),
    "bad_url": ("The URL cannot be used.", "Write it as `https://host/path`, with special signs encoded."),
    "bad_method": ("The HTTP method cannot be used.", "Use GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS."),
    "bad_header": ("A header cannot be sent as it is.", "Mend the header that the message names."),
    "bad_params": ("A query parameter is a map, or something else that has no text.", "Use texts, numbers, or lists of them."),
    "bad_body": ("The body cannot be written.", "Give one of `json`, `body` and `form`, without NaN."),
    "bad_limit": ("A time or size limit makes no sense.", "Use a positive number within the bounds in the message."),
    "bad_redirect": ("The server redirects to something that is no web address.", "See the server, or name the last address."),
    "too_many_redirects": ("The server redirects without end.", "See the server, or say `follow_redirects: false`."),
    "request_too_large": ("The body is larger than may be sent.", "Send less."),
    "body_too_large": ("The answer is larger than `max_bytes` allows.", "Raise `max_bytes`, or ask for less."),
    "body_undecodable": ("The answer is not compressed as it says.", "See the server."),
    "egress_refused": ("The address may not be called from here.", "Call another one, or allow it where the message says."),
    "name_not_resolved": ("The host's name has no address.", "Check the name."),
    "connection_failed": ("No connection could be made.", "See whether the service runs and can be reached."),
    "connection_lost": ("The connection ended before the answer.", "Retry; see the service's own log."),
    "connect_timeout": ("There was no connection in time.", "See whether the host answers."),
    "timeout": ("There was no whole answer in time.", "Raise `timeout` if the service is slow."),
    "certificate_invalid": ("The server's certificate is not trusted.", "Renew it, or trust its issuer on this machine."),
    "tls_failed": ("There was no TLS connection.", "Check that the port speaks TLS."),
    "invalid_response": ("The answer is not HTTP.", "Check the port and the scheme."),
}  # fmt: skip
"""Codes of failed steps, with their meaning and what helps. HTTP statuses have `http_<status>`, expressions EXP codes,
Python functions the name of the exception's class, `fail` steps what the flow says."""
