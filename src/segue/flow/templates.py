"""Puts quotes around values that start with an unquoted `{{`, before YAML takes them for maps.

One pass over the text that knows only as much YAML as is needed to tell where a value starts: quotes, comments, block
scalars and flow brackets. It runs only if something looks like such a value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final, NamedTuple

MAX_MARKS: Final = 1_000_000
"""Quotes, braces and line ends looked at in search of closing braces: a text of nothing but `{{` would take hours."""

_SUSPECT = re.compile(r"(?:^|[-:,\[{?]|\n)[ \t]*\$?\{\{")
_OPEN = re.compile(r"\$?\{\{")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'', re.DOTALL)
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\n]*)?(?=\r?\n|\Z)")
_PROPERTY = re.compile(r"[&!][^\s,\[\]{}]*[ \t]+")
_BLOCK_WORD = re.compile(r"(?:[^\n:#]|:(?![ \t\r\n]|\Z)|(?<![ \t])#)+")
_FLOW_WORD = re.compile(r"(?:[^\n:#,\[\]{}]|:(?![ \t\r\n,\[\]{}]|\Z)|(?<![ \t])#)+")
_SPACE = re.compile(r"[ \t\r]+")
_MARK = re.compile(r"[\"'{}\n]")
_STRING_IN_LINE = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_REST_OF_LINE = re.compile(r"(?:[^\n#{]|(?<![ \t])#|\{(?!\{))*")
_REST_IN_FLOW = re.compile(r"[^\n#{},\[\]]*")


class Repaired(NamedTuple):
    """The text with quotes put in. `insertions` are offsets in the original before which one character was added."""

    text: str
    insertions: list[int]
    values: list[tuple[int, int]]
    """Start and end, in the original, of every value that got quotes."""
    added: list[int]
    """Where the added characters stand in the repaired text, ascending."""

    def original(self, offset: int) -> int:
        """The offset in the author's text for one in the repaired text."""
        return offset - bisect_left(self.added, offset) if self.added else offset


def repair_templates(text: str) -> Repaired:
    """Quote every unquoted value that starts with `{{` or `${{`. Other text is not changed."""
    if "{{" not in text or _SUSPECT.search(text) is None:
        return Repaired(text, [], [], [])
    values = _Scanner(text).run()
    pieces: list[str] = []
    insertions: list[int] = []
    done = 0
    for start, end in values:
        pieces += [text[done:start], quote(text[start:end])]
        insertions.append(start)
        insertions += [start + place.start() for place in re.finditer("'", text[start:end])]
        insertions.append(end)
        done = end
    added = [place + count for count, place in enumerate(insertions)]
    return Repaired("".join([*pieces, text[done:]]), insertions, values, added)


def quote(value: str) -> str:
    """The value as a single-quoted YAML scalar."""
    return "'" + value.replace("'", "''") + "'"


class _Scanner:
    """Where values start: after `- `, `: `, brackets and commas, or at the start of a line that continues nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[tuple[int, int]] = []
        self.depth = 0
        self.line_start = 0
        self.at_value = True
        self.container = -1
        """Column of the innermost key or dash on the line: deeper lines belong to its value."""
        self.plain_column: int | None = None
        """Column of the key whose plain value may go on in the next line."""
        self.word_start = 0
        self.marks_left = MAX_MARKS

    def run(self) -> list[tuple[int, int]]:
        position, size = 0, len(self.text)
        while position < size:
            position = self._step(position)
        return self.found

    def _step(self, position: int) -> int:
        char = self.text[position]
        if char == "\n":
            return self._new_line(position + 1)
        if space := _SPACE.match(self.text, position):
            return space.end()
        if char == "#" and (position == self.line_start or self.text[position - 1] in " \t"):
            end = self.text.find("\n", position)
            return len(self.text) if end < 0 else end
        if self.at_value:
            return self._value(position, char)
        return self._after_value(position, char)

    def _new_line(self, position: int) -> int:
        self.line_start = position
        if self.depth:
            return position
        space = _SPACE.match(self.text, position)
        column = (space.end() if space else position) - position
        continues = self.plain_column is not None and column > self.plain_column
        self.at_value = not continues
        if not continues:
            self.container = -1
            self.plain_column = None
        return position

    def _value(self, position: int, char: str) -> int:
        text = self.text
        if opened := _OPEN.match(text, position):
            end = self._template_end(position, opened.end())
            if end is not None:
                self.found.append((position, end))
                self.at_value = False
                return end
        if char in "\"'" and (quoted := _QUOTED.match(text, position)):
            self.word_start, self.at_value = position, False
            return quoted.end()
        if char in "[{":
            self.depth += 1
            return position + 1
        if char in "]}" or (self.depth and char in ",:"):
            return self._after_value(position, char)
        if not self.depth:
            if char == "-" and text[position + 1 : position + 2] in ("", " ", "\t", "\n", "\r"):
                self.container = position - self.line_start
                return position + 1
            if block := _BLOCK_HEADER.match(text, position):
                return self._skip_block(block.end())
        if properties := _PROPERTY.match(text, position):
            return properties.end()
        word = (_FLOW_WORD if self.depth else _BLOCK_WORD).match(text, position)
        self.word_start, self.at_value = position, False
        if not self.depth:
            self.plain_column = max(self.container, 0) if self.container >= 0 else position - self.line_start - 1
        return word.end() if word and word.end() > position else position + 1

    def _after_value(self, position: int, char: str) -> int:
        if char == ":":
            self.at_value = True
            if not self.depth:
                self.container = self.word_start - self.line_start
                self.plain_column = None
        elif char == "," and self.depth:
            self.at_value = True
        elif char in "]}" and self.depth:
            self.depth -= 1
            self.at_value = False
        elif char in "[{" and self.depth:
            self.depth += 1
            self.at_value = True
        return position + 1

    def _skip_block(self, position: int) -> int:
        """The start of the first line after a block scalar's content."""
        text, size = self.text, len(self.text)
        position = text.find("\n", position) + 1 or size
        while position < size:
            end = text.find("\n", position) + 1 or size
            line = text[position:end]
            content = line.lstrip(" ")
            if content.strip() and len(line) - len(content) <= self.container:
                break
            position = end
        return self._new_line(position) if position < size else position

    def _template_end(self, start: int, position: int) -> int | None:
        """Where the value that starts with a template ends; None if it is none."""
        end = self._close(position)
        rest = _REST_IN_FLOW if self.depth else _REST_OF_LINE
        while end is not None:
            match = rest.match(self.text, end)
            stop = match.end() if match else end
            if self.text.startswith("{{", stop):
                end = self._close(stop + 2)
                continue
            value_end = start + len(self.text[start:stop].rstrip())
            is_key = self.text[end:stop].lstrip().startswith(":")
            return None if is_key else value_end
        return None

    def _close(self, position: int) -> int | None:
        """The end of `}}` that closes the template whose inside starts at `position`."""
        nested = 0
        while self.marks_left > 0 and (mark := _MARK.search(self.text, position)):
            self.marks_left -= 1
            char, position = mark.group(), mark.end()
            if char in "\"'":
                string = _STRING_IN_LINE.match(self.text, mark.start())
                position = string.end() if string else position
            elif char == "{":
                nested += 1
            elif char == "}":
                if nested:
                    nested -= 1
                elif self.text.startswith("}", position):
                    return position + 1
                else:
                    return None
            elif self.depth == 0 and self._line_is_shallow(position):
                return None
        return None

    def _line_is_shallow(self, position: int) -> bool:
        """Whether the line at `position` no longer belongs to the value that is open."""
        space = _SPACE.match(self.text, position)
        column = (space.end() if space else position) - position
        return column <= self.container
