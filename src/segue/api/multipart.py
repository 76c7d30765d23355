"""Bodies of forms with files, `multipart/form-data` (RFC 7578), read into a map."""

from __future__ import annotations

import base64
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final, cast

from segue.api.errors import BadBodyError
from segue.flow.model import JsonValue, RawMap

PARTS_MAX: Final = 1_000
_FORM: Final = "multipart/form-data"


def read_multipart(content_type: str, body: bytes) -> RawMap:
    """The form's fields: text as it stands; a file as `{filename, content_type, bytes, base64}`; what comes several
    times as a list. Raises BadBodyError.
    """
    head = f"Content-Type: {content_type}\r\n\r\n".encode("ascii", "replace")
    message = cast("Message", BytesParser(policy=HTTP).parsebytes(head + body))
    if not message.is_multipart() or message.defects or message.get_content_type() != _FORM:
        raise BadBodyError("the multipart body cannot be read: its boundary is missing, or it has no end")
    fields: RawMap = {}
    parts = cast("list[Message]", message.get_payload())
    if len(parts) > PARTS_MAX:
        raise BadBodyError(f"the form has more than {PARTS_MAX:,} parts")
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str) or not name:
            raise BadBodyError("a part of the form has no name")
        value = _value(part)
        if name not in fields:
            fields[name] = value
            continue
        earlier = fields[name]
        fields[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    return fields


def _value(part: Message) -> JsonValue:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        raise BadBodyError("a part of the form has parts of its own")
    filename = part.get_filename()
    if filename is None:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise BadBodyError("a field of the form is not UTF-8 text") from None
    return {
        "filename": filename, "content_type": part.get_content_type(), "bytes": len(raw),
        "base64": base64.b64encode(raw).decode(),
    }  # fmt: skip
