"""The page of the senders' ways of signing, from the records that the verifier goes by."""

from __future__ import annotations

from segue.triggers.schemes import SCHEMES, Moment, Proof, Scheme, Source

_HEAD = (
    "`auth:`",
    "Sender",
    "Header",
    "Signature",
    "Signed bytes",
    "Key",
    "Time, tolerance",
    "Id of a delivery",
    "Kind of message",
)
_KEYS = {
    "text": "the secret's text",
    "base64": "the secret, base64",
    "hex": "the secret, hexadecimal",
    "whsec": "base64 behind `whsec_`, 24 to 64 bytes",
    "public": "public key: PEM, hexadecimal or base64",
}


def page() -> str:
    """`docs/reference/webhooks.md`."""
    lines = [
        "# How webhooks are signed",
        "",
        "Made from the table that the verifier goes by (`segue.triggers.schemes`). How they are used:",
        "[Triggers](../triggers.md).",
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|" + " --- |" * len(_HEAD),
    ]
    lines += ["| " + " | ".join(_row(scheme)) + " |" for scheme in SCHEMES.values()]
    lines += [
        "",
        "Without an id of the sender, signature and body are the id. For the kinds `token`, `jwt` and `none`, see",
        "[Triggers](../triggers.md#who-may-send).",
    ]
    return "\n".join(lines) + "\n"


def _row(scheme: Scheme) -> tuple[str, ...]:
    return (
        f"`{scheme.name}`", scheme.title, f"`{scheme.header}`", " or ".join(map(_proof, scheme.proofs)),
        f"`{scheme.signed}`", " or ".join(dict.fromkeys(_KEYS[proof.key] for proof in scheme.proofs)),
        _time(scheme.time), _source(scheme.id), _source(scheme.event),
    )  # fmt: skip


def _proof(proof: Proof) -> str:
    return (
        f"`{proof.prefix}…` {proof.algorithm}, {proof.encoding}"
        if proof.prefix
        else f"{proof.algorithm}, {proof.encoding}"
    )


def _time(moment: Moment | None) -> str:
    if moment is None:
        return "none"
    where = moment.header or (f"{moment.prefix}…" if moment.prefix else f"body.{moment.field}")
    return f"`{where}` ({moment.unit}), {moment.tolerance_seconds} s"


def _source(source: Source | None) -> str:
    if source is None:
        return "none"
    return f"`{source.header}`" if source.header is not None else f"`body.{source.field}`"
