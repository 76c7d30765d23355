"""`multipart/form-data` (RFC 7578), encoded into bytes so that a redirect or a retry sends the very same body."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from segue.net.errors import invalid_request
from segue.net.messages import Part

PARTS_MAX: Final = 1000
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[^\x00-\x1f\x7f]*)?")


def encode_multipart(parts: Sequence[Part]) -> tuple[str, bytes]:
    """The `Content-Type` with its boundary, and the body. Raises HttpFailure (`validation`) for a part that cannot be
    sent.

    The boundary is a digest of the content: no randomness, and no content can contain its own digest by accident.
    """
    if len(parts) > PARTS_MAX:
        raise invalid_request(f"the multipart body has {len(parts)} parts; at most {PARTS_MAX}", code="bad_body")
    blocks = [(_part_head(part), part.data.encode() if isinstance(part.data, str) else part.data) for part in parts]
    digest = hashlib.sha256()
    for head, data in blocks:
        digest.update(head)
        digest.update(data)
    boundary = f"segue-{digest.hexdigest()[:40]}"
    mark = boundary.encode()
    body = b"".join(b"--" + mark + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in blocks)
    return f"multipart/form-data; boundary={boundary}", body + b"--" + mark + b"--\r\n"


def _part_head(part: Part) -> bytes:
    head = f'Content-Disposition: form-data; name="{_quoted(part.name)}"'
    content_type = part.content_type
    if part.filename is not None:
        head += f'; filename="{_quoted(part.filename)}"'
        content_type = content_type or "application/octet-stream"
    if content_type is not None:
        if not _MEDIA_TYPE.fullmatch(content_type):
            raise invalid_request(f"{content_type!r} is not the content type of a part", code="bad_body")
        head += f"\r\nContent-Type: {content_type}"
    return head.encode()


def _quoted(text: str) -> str:
    # As browsers do (WHATWG HTML, multipart/form-data encoding algorithm): only these three are escaped.
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
