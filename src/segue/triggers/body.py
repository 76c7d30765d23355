"""A webhook's body: read once whoever asks for it, and no larger than its webhook takes, compressed or not."""

from __future__ import annotations

import zlib
from typing import Final

from segue.errors import RequestError
from segue.flow.model import JsonValue
from segue.triggers.errors import BadContentError, EncodingNotTakenError, TooManyBytesError
from segue.triggers.incoming import Content, Incoming, Read

_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""`wbits` of zlib by Content-Encoding (RFC 9110, section 8.4.1)."""
_PLAIN: Final = ("", "identity")


class Body:
    """What was sent, and what it says."""

    def __init__(self, incoming: Incoming, read: Read, *, limit: int, encodings: frozenset[str]) -> None:
        """`limit`: bytes of the body as it is read. `encodings`: those that the webhook takes."""
        self._incoming = incoming
        self._read = read
        self._limit = limit
        self._encodings = encodings
        self._plain: bytes | None = None
        self._json: Content | RequestError | None = None

    def check(self) -> None:
        """Before it is known who sends. Raises EncodingNotTakenError, TooManyBytesError."""
        if len(self._incoming.body) > self._limit:
            raise TooManyBytesError(self._limit)
        encoding = self._encoding()
        if encoding not in _PLAIN and encoding.removeprefix("x-") not in self._encodings:
            taken = f"; it takes {', '.join(sorted(self._encodings))}" if self._encodings else ""
            raise EncodingNotTakenError(f"this webhook takes no body with Content-Encoding {encoding[:40]!r}{taken}")

    def plain(self) -> bytes:
        """The body without its Content-Encoding. Raises BadContentError, TooManyBytesError."""
        if self._plain is None:
            encoding = self._encoding()
            raw = self._incoming.body
            self._plain = raw if encoding in _PLAIN or not raw else self._unpacked(raw, _WINDOWS[encoding])
        return self._plain

    def json(self) -> JsonValue:
        """Raises RequestError for a body that is no JSON."""
        if self._json is None:
            try:
                self._json = self._read("application/json", self.plain())
            except RequestError as error:
                self._json = error
        if isinstance(self._json, RequestError):
            raise self._json
        return self._json.value

    def content(self) -> Content:
        """The body by its content type. Raises RequestError."""
        kind = self._incoming.content_type
        if (kind == "application/json" or kind.endswith("+json")) and self.plain():
            return Content(self.json())
        return self._read(self._incoming.media_type, self.plain())

    def _encoding(self) -> str:
        return self._incoming.header("content-encoding").strip().lower()

    def _unpacked(self, raw: bytes, window: int) -> bytes:
        unpacker = zlib.decompressobj(window)
        try:
            plain = unpacker.decompress(raw, self._limit + 1)
        except zlib.error as error:
            raise BadContentError("the body is not compressed as its Content-Encoding says") from error
        if len(plain) > self._limit:
            raise TooManyBytesError(self._limit)
        if not unpacker.eof or unpacker.unused_data:
            raise BadContentError("the body is not compressed as its Content-Encoding says: it is cut off, or too long")
        return plain
