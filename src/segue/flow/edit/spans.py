"""Changes of a tree as patches of its text: the smallest span, in the style of what stands around it.

Block maps and lists get and lose whole lines; flow collections (and JSON) get and lose an entry and its comma. Who
applies the patches reads the text again and compares: what is odd enough to deceive these rules is refused there.
"""

from __future__ import annotations

import re
from typing import Final

from segue.errors import RequestError
from segue.flow.document import Node
from segue.flow.edit.changes import Change, Drop, Insert, Put, RenameKey, Wrap, node_at
from segue.flow.edit.places import BREAK, Places
from segue.flow.edit.write import (
    entry_lines,
    flow_text,
    is_literal,
    item_lines,
    key_text,
    layout_lines,
    list_lines,
    literal_lines,
    map_lines,
    scalar_text,
    value_lines,
)
from segue.flow.model import JsonValue
from segue.flow.problems import Patch

_COLON: Final = re.compile(r"[ \t]*:")
_COMMA_AND_LINE: Final = re.compile(r"[ \t]*,[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)")
_COMMENT_LINE: Final = re.compile(r"[ \t]*#")


class Spans(Places):
    """Makes patches for one document."""

    def patches(self, changes: list[Change]) -> list[Patch]:
        """The patches for all changes, by place. Raises RequestError if two of them touch the same text."""
        found: list[Patch] = []
        for change in changes:
            match change:
                case Put():
                    found += self._put(change)
                case Drop():
                    found += self._drop(change)
                case Insert():
                    found += self._insert(change)
                case RenameKey():
                    found += self._rename(change)
                case Wrap():
                    found += self._wrap(change)
        found = [patch for patch in found if self.text[patch.start : patch.end] != patch.text]
        found.sort(key=lambda patch: (patch.start, patch.end))
        joined: list[Patch] = []
        for patch in found:
            last = joined[-1] if joined else None
            if last is None or last.end <= patch.start:
                joined.append(patch)
            elif last.text == patch.text == "":
                # Neighbours that both go share the line break, or the comma, between them.
                joined[-1] = Patch(start=last.start, end=max(last.end, patch.end), text="")
            else:
                raise RequestError("two changes touch the same text; make them one after the other")
        return joined

    # -- values

    def _put(self, change: Put) -> list[Patch]:
        if not change.path:
            return self.replace(self.root, change.value)
        home = node_at(self.root, change.path[:-1])
        key = change.path[-1]
        if isinstance(key, int) or key in (home.entries or {}):
            return self.replace(node_at(self.root, change.path), change.value)
        return self._add_key(home, key, change.value, change.after)

    def replace(self, node: Node, value: JsonValue) -> list[Patch]:
        """The patch that makes a value another."""
        is_old_block = (bool(node.entries) or bool(node.items)) and not self.is_flow(node) and not self.is_alias(node)
        if is_old_block:
            return self._replace_block(node, value)
        start = node.start if self.is_alias(node) else self.begin(node)
        if self.is_in_flow(node.parent):
            new = self._flow_value(node, value)
            return [Patch(start=start, end=node.end, text=self._gap(node, start) + new)]
        if node.style in ("|", ">"):
            return [self._over_block_scalar(node, start, value)]
        rest = self.text[node.end : self.line_end(node.end)].strip(" \t")
        lines = self._lines_behind(node, value, is_alone=not rest, start=start)
        if lines[0] == "" and len(lines) > 1:
            start = self._after_lead(node, start)
            gap = ""
        else:
            gap = self._gap(node, start)
        return [Patch(start=start, end=node.end, text=gap + self.newline.join(lines))]

    def _flow_value(self, node: Node, value: JsonValue) -> str:
        is_json = self.is_json(node.parent)
        if isinstance(value, (dict, list)):
            return flow_text(value, is_json=is_json)
        return scalar_text(value, flow=True, quote=self._quote(node), is_json=is_json)

    def _quote(self, node: Node) -> str | None:
        return '"' if self.careful else node.style if node.style in ("'", '"') else None

    def _gap(self, node: Node, start: int) -> str:
        """What parts a value from its key or dash, where nothing was written before."""
        if node.end > node.start:
            return ""
        before = self.text[start - 1 : start]
        if node.key_end == start and before != ":":
            return ": "
        return "" if before in (" ", "\t", "") else " "

    def _after_lead(self, node: Node, start: int) -> int:
        """Right behind the key's colon, or the dash."""
        while start > 0 and self.text[start - 1] in " \t":
            start -= 1
        return start

    def _inner_indent(self, node: Node) -> int:
        """The indentation for lines of a value that stands behind a key or a dash."""
        return 0 if node.parent is None else self.indent(node.parent) + 2

    def _lines_behind(self, node: Node, value: JsonValue, *, is_alone: bool, start: int) -> list[str]:
        if isinstance(value, str) and "\n" not in value:
            return [scalar_text(value, flow=False, quote=self._quote(node))]
        if self.careful or not is_alone:
            return [flow_text(value, is_json=self.careful)]
        if node.style in ("'", '"') and isinstance(value, str):
            return [scalar_text(value, flow=False, quote=node.style)]
        inner = self._inner_indent(node)
        lines = value_lines(value, self.column(start), inner)
        if isinstance(node.key, int) and self.is_blank_or_dash(start):
            column = self.column(start)
            if isinstance(value, dict) and value:
                return map_lines(value, column)
            if isinstance(value, list) and value and lines[0] == "":
                return list_lines(value, column)
        return lines

    def is_blank_or_dash(self, start: int) -> bool:
        """Whether nothing but dashes stands before a place on its line."""
        return not self.text[self.line_start(start) : start].strip(" -")

    def _over_block_scalar(self, node: Node, start: int, value: JsonValue) -> Patch:
        tail = self.newline if self.ends_line(node.end) else ""
        inner = self._inner_indent(node)
        content = BREAK.search(self.text, start)
        if content is not None:
            first = re.compile(r"[ ]*").match(self.text, content.end())
            inner = len(first.group()) if first and first.group() else inner
        if isinstance(value, str) and is_literal(value) and not self.careful:
            lines = literal_lines(value, inner)
            if not tail and value.endswith("\n"):
                tail = self.newline
        else:
            lines = self._lines_behind(node, value, is_alone=True, start=start)
            if lines[0] == "" and len(lines) > 1:
                start = self._after_lead(node, start)
        return Patch(start=start, end=node.end, text=self.newline.join(lines) + tail)

    def _replace_block(self, node: Node, value: JsonValue) -> list[Patch]:
        """Another value for a map or list that has lines of its own."""
        tail = self.newline if self.ends_line(node.end) else ""
        if node.parent is None:
            lines = (
                [flow_text(value)]
                if not value or self.careful
                else (map_lines(value, 0) if isinstance(value, dict) else [flow_text(value)])
            )
            return [Patch(start=node.start, end=node.end, text=self.newline.join(lines) + tail)]
        if isinstance(node.key, int):
            lead = self.dash(node.parent, node.key) + 1
        else:
            colon = _COLON.match(self.text, node.key_end)
            if colon is None:
                raise RequestError("the key is written in a way that cannot be edited here; edit the text")
            lead = colon.end()
        begin = self.begin(node)
        comment_end = self.line_end(lead)
        head = self.text[lead:comment_end]
        has_comment = re.search(r"(?:^|\s)#", head) is not None and comment_end < begin
        properties = self.text[node.start : begin].strip() if begin > node.start else ""
        if has_comment or properties:
            lines = [flow_text(value, is_json=self.careful)]
        else:
            lines = self._lines_behind(node, value, is_alone=True, start=lead + 1)
        if has_comment and not properties:
            return [
                Patch(start=lead, end=lead, text=" " + lines[0]),
                Patch(start=comment_end, end=node.end, text=tail),
            ]
        if properties:
            return [Patch(start=begin, end=node.end, text=lines[0] + tail)]
        if not (lines[0] == "" and len(lines) > 1):
            lines[0] = " " + lines[0]
        return [Patch(start=lead, end=node.end, text=self.newline.join(lines) + tail)]

    # -- entries

    def _add_key(self, home: Node, key: str, value: JsonValue, after: str | None) -> list[Patch]:
        entries = home.entries
        if entries is None or not entries:
            return self.replace(home, {key: value})
        if self.is_in_flow(home):
            is_json = self.is_json(home)
            name = key_text(key, is_json=is_json)
            colon = ": " if ": " in self.text[home.start : home.end] or not is_json else ":"
            place = -1 if after == "" else after
            return self._add_in_flow(
                home, list(entries.values()), place, f"{name}{colon}{flow_text(value, is_json=is_json)}"
            )
        indent = self.indent(home)
        lines = entry_lines(key, value, indent)
        if self.careful:
            lines = [f"{key_text(key)}: {flow_text(value, is_json=True)}"]
        elif key == "layout" and home.parent is None:
            lines = layout_lines(value)
        if after == "":
            place = next(iter(entries.values())).key_start
            return [Patch(start=place, end=place, text=self.newline.join([*lines, " " * indent]))]
        previous = entries[after] if after in entries else next(reversed(entries.values()))
        return [self._lines_after(self.own_end(previous), indent, lines)]

    def _lines_after(self, end: int, indent: int, lines: list[str]) -> Patch:
        text = " " * indent + self.newline.join(lines)
        if self.ends_line(end):
            return Patch(start=end, end=end, text=text + self.newline)
        place = self.line_end(end)
        return Patch(start=place, end=place, text=self.newline + text)

    def _add_in_flow(self, home: Node, children: list[Node], after: str | int | None, text: str) -> list[Patch]:
        """A new entry of a collection in brackets; `after` None: at the end, -1: first."""
        if after == -1:
            first = children[0]
            start = first.key_start if first.key_start >= 0 and home.entries is not None else first.start
            gap = self.text[self.begin(home) + 1 : start]
            between = gap if BREAK.search(gap) and not gap.strip() else " "
            return [Patch(start=start, end=start, text=f"{text},{between}")]
        previous = next((child for child in children if child.key == after), children[-1])
        end = self.own_end(previous)
        start = previous.key_start if home.entries is not None else previous.start
        line = self.line_start(start)
        if line <= self.begin(home) or not self.is_blank(line, start):
            return [Patch(start=end, end=end, text=f", {text}")]
        new = self.newline + self.text[line:start] + text
        rest = self.text[end : self.line_end(end)]
        comment = re.match(r"[ \t]*,?[ \t]+#", rest) or re.match(r"[ \t]*,[ \t]*\Z", rest)
        if comment is None:
            return [Patch(start=end, end=end, text="," + new)]
        has_comma = "," in comment.group()
        place = self.line_end(end)
        if previous is children[-1] and not has_comma:
            return [Patch(start=end, end=end, text=","), Patch(start=place, end=place, text=new)]
        return [Patch(start=place, end=place, text=new + ("," if has_comma else ""))]

    def _rename(self, change: RenameKey) -> list[Patch]:
        node = node_at(self.root, change.path)
        if node.key_start < 0:
            raise RequestError("only a map's keys can be renamed")
        first = self.text[node.key_start]
        name = key_text(change.name, quote=first if first in "'\"" else None, is_json=self.careful)
        return [Patch(start=node.key_start, end=node.key_end, text=name)]

    # -- items

    def _insert(self, change: Insert) -> list[Patch]:
        home = node_at(self.root, change.path)
        items = home.items
        if items is None:
            raise RequestError("only a list takes a new item")
        if not items:
            return self.replace(home, [change.value])
        index = min(change.index, len(items))
        if self.is_in_flow(home):
            text = self._raw_in_flow(change.source) or flow_text(change.value, is_json=self.is_json(home))
            return self._add_in_flow(home, items, index - 1 if index else -1, text)
        indent = self.indent(home)
        lines = self._raw_item(change.source, indent)
        if lines is None:
            lines = [f"- {flow_text(change.value, is_json=True)}"] if self.careful else item_lines(change.value, indent)
        if index:
            return [self._lines_after(items[index - 1].end, indent, lines)]
        place = self.dash(home, 0)
        return [Patch(start=place, end=place, text=self.newline.join([*lines, " " * indent]))]

    def _raw_in_flow(self, source: tuple[str | int, ...] | None) -> str | None:
        if source is None or self.careful:
            return None
        node = node_at(self.root, source)
        if node.parent is None or not self.is_in_flow(node.parent) or self.is_alias(node):
            return None
        return self.text[node.start : node.end]

    def _raw_item(self, source: tuple[str | int, ...] | None, indent: int) -> list[str] | None:
        """The lines of an item that stands elsewhere, moved to another column; None if its text cannot stand here."""
        if source is None or self.careful:
            return None
        node = node_at(self.root, source)
        if node.parent is None or not isinstance(node.key, int) or self.is_in_flow(node.parent):
            return None
        dash = self.dash(node.parent, node.key)
        start = self._lead_start(dash)
        end = node.end if self.ends_line(node.end) else self.line_end(node.end)
        by = indent - self.column(dash)
        lines = BREAK.split(self.text[start:end])
        if lines and self.ends_line(node.end):
            lines.pop()
        moved = [lines[0].lstrip(" ")]
        for line in lines[1:]:
            if by > 0:
                line = " " * by + line if line.strip() else line
            elif by < 0:
                line = line[min(-by, len(line) - len(line.lstrip(" "))) :]
            moved.append(line)
        return moved

    def _lead_start(self, dash: int) -> int:
        """Where the comment lines right above an item, at its own column, begin."""
        start = self.line_start(dash)
        if not self.is_blank(start, dash):
            return dash
        column = dash - start
        while start > 0:
            above = self.line_start(start - 1 if self.text[start - 2 : start] != "\r\n" else start - 2)
            line = self.text[above:start]
            if not _COMMENT_LINE.match(line) or len(line) - len(line.lstrip(" ")) != column:
                break
            start = above
        return start

    def _wrap(self, change: Wrap) -> list[Patch]:
        """A value that becomes one item of a new list. In lines of its own it moves two columns to the right."""
        node = node_at(self.root, change.path)
        start = node.start
        is_block = bool(node.entries) and not self.is_flow(node) and not self.is_alias(node)
        if not is_block or self.begin(node) != start or self.careful:
            return self.replace(node, [*change.before, node.plain(), *change.after])
        column = self.column(start)
        lines = BREAK.split(self.text[start : node.end])
        tail = self.newline if self.ends_line(node.end) else ""
        if tail:
            lines.pop()
        kept = [f"- {lines[0]}", *("  " + line if line.strip() else line for line in lines[1:])]
        space = " " * column
        lead = [line for value in change.before for line in self._spaced(item_lines(value, column), space)]
        rest = [line for value in change.after for line in self._spaced(item_lines(value, column), space)]
        first = self.newline.join([*lead, space + self.newline.join(kept)])[column:] + tail
        if not rest:
            return [Patch(start=start, end=node.end, text=first)]
        added = self._lines_after(node.end, column, [rest[0][column:], *rest[1:]])
        if added.start == node.end:
            return [Patch(start=start, end=node.end, text=first + added.text)]
        return [Patch(start=start, end=node.end, text=first), added]

    def _spaced(self, lines: list[str], space: str) -> list[str]:
        return [space + lines[0], *lines[1:]]

    def _drop(self, change: Drop) -> list[Patch]:
        node = node_at(self.root, change.path)
        home = node.parent
        if home is None:
            raise RequestError("the whole flow cannot be removed by an edit")
        children = list((home.entries or {}).values()) if home.entries is not None else home.items or []
        if len(children) == 1:
            return self._empty(home)
        place = next(index for index, child in enumerate(children) if child is node)
        if self.is_in_flow(home):
            return self._drop_in_flow(home, children, place)
        if home.items is not None:
            start = self.dash(home, place)
            following = self.dash(home, place + 1) if place + 1 < len(children) else None
        else:
            start = node.key_start
            following = children[place + 1].key_start if place + 1 < len(children) else None
        end = self.own_end(node)
        line = self.line_start(start)
        if self.is_blank(line, start):
            first = self._lead_start(start) if change.with_lead else line
            return [self._drop_lines(first, end)]
        if following is None:
            raise RequestError("the entry is written in a way that cannot be removed here; edit the text")
        past = self.next_line(end) if not self.ends_line(end) else end
        if "#" in self.text[past:following]:
            start = self._after_lead(node, start)
            return [Patch(start=start, end=self.line_end(end), text="")]
        return [Patch(start=start, end=following, text="")]

    def _empty(self, home: Node) -> list[Patch]:
        empty: JsonValue = {} if home.entries is not None else []
        if self.is_flow(home):
            return [Patch(start=self.begin(home) + 1, end=home.end - 1, text="")]
        return self.replace(home, empty)

    def _drop_lines(self, start: int, end: int) -> Patch:
        if self.ends_line(end):
            return Patch(start=start, end=end, text="")
        past = self.next_line(end)
        if past == len(self.text) and not self.ends_line(past) and start > 0:
            # The text has no last line break: the one before goes instead.
            start -= 2 if self.text[start - 2 : start] == "\r\n" else 1
        return Patch(start=start, end=past, text="")

    def _drop_in_flow(self, home: Node, children: list[Node], place: int) -> list[Patch]:
        def start_of(child: Node) -> int:
            return child.key_start if home.entries is not None else child.start

        node = children[place]
        start, end = start_of(node), self.own_end(node)
        line = self.line_start(start)
        has_line = line > self.begin(home) and self.is_blank(line, start)
        if place + 1 < len(children):
            if has_line and (found := _COMMA_AND_LINE.match(self.text, end)):
                return [Patch(start=line, end=found.end(), text="")]
            return [Patch(start=start, end=start_of(children[place + 1]), text="")]
        before = self.own_end(children[place - 1])
        if has_line and "#" in self.text[before:line]:
            above = self.line_end(before)
            return (
                [Patch(start=above, end=end, text="")]
                if "," in self.text[before:above].split("#")[0]
                else [Patch(start=before, end=end, text="")]
            )
        return [Patch(start=before, end=end, text="")]
