"""Tokens to a syntax tree: a Pratt parser, one table of binding powers, bounded recursion.

Precedence, loosest first: `? :`, `|| or`, `&& and`, `not`, comparisons and `in`, the pipe `|`, `??`, `+ -`, `* / %`, `!
-`, then
`.` `[]` and calls. The pipe binds tighter than comparisons, so that `$a | size > 3 and $b | trim == 'x'` reads as it
looks;
`not` is looser than comparisons, as in Python, so that `not $a == 1` is no type error; `!` binds as in CEL.
"""

from __future__ import annotations

from typing import Final, NoReturn

from segue.expr.ast import (
    Binary,
    Call,
    Coalesce,
    Conditional,
    Expr,
    Has,
    Index,
    ListLiteral,
    Literal,
    Logical,
    Macro,
    MapLiteral,
    Name,
    Select,
    Unary,
    depth,
)
from segue.expr.budget import Budget
from segue.expr.errors import BudgetExceeded, ExprSyntaxError
from segue.expr.lexer import Token
from segue.expr.types import INT_MAX

_CONDITIONAL, _OR, _AND, _NOT, _RELATION, _PIPE, _COALESCE, _SUM, _PRODUCT, _UNARY = range(1, 11)

_INFIX: Final[dict[str, int]] = {
    "?": _CONDITIONAL,
    "||": _OR,
    "or": _OR,
    "&&": _AND,
    "and": _AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not"), _RELATION),
    "|": _PIPE,
    "??": _COALESCE,
    "+": _SUM,
    "-": _SUM,
    **dict.fromkeys(("*", "/", "%"), _PRODUCT),
}

_CONSTANTS: Final[dict[str, object]] = {"true": True, "false": False, "null": None}

_RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while", "in", "and", "or", "not"),
    }
)
"""CEL's reserved words, and our operators. As `$loop`, or after a dot, they are names like any other."""

MACROS: Final[dict[str, tuple[int, ...]]] = {
    "all": (2, 3),
    "exists": (2, 3),
    "exists_one": (2, 3),
    "existsOne": (2, 3),
    "filter": (2,),
    "map": (2, 3),
    "transformList": (3, 4),
    "transformMap": (3, 4),
    "transformMapEntry": (3, 4),
    "optMap": (2,),
    "optFlatMap": (2,),
}
"""Macros by name, with the numbers of arguments that they take; besides, `cel.bind`, and `sortBy` with two."""

_YIELDING: Final = frozenset({"map", "transformList", "transformMap", "transformMapEntry", "optMap", "optFlatMap"})
"""Macros whose last argument is the result, with the filter (if there is one) before it."""

_RECURSION_PER_DEPTH: Final = 3
"""Calls of the parser to itself that one level of the tree may take: brackets are not nodes, but they nest all the
same.
"""


def parse(source: str, tokens: list[Token], budget: Budget) -> Expr:
    """The tree of the tokens. Raises ExprSyntaxError; BudgetExceeded if it nests deeper than the budget allows."""
    parser = _Parser(source, tokens, budget)
    root = parser.expression(0)
    parser.expect_end()
    if depth(root) > budget.depth:
        raise too_deep(budget, root.start, root.end)
    return root


def too_deep(budget: Budget, start: int, end: int) -> BudgetExceeded:
    """The error for a tree that nests too deep."""
    return BudgetExceeded("EXP202", f"the expression nests more than {budget.depth} levels deep", start=start, end=end)


class _Parser:
    def __init__(self, source: str, tokens: list[Token], budget: Budget) -> None:
        self._source = source
        self._tokens = tokens
        self._budget = budget
        self._next = 0
        self._depth = 0

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _at(self, text: str) -> bool:
        token = self._tokens[self._next]
        return token.kind == "op" and token.text == text

    def _accept(self, text: str) -> bool:
        if self._at(text):
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> Token:
        if not self._at(text):
            self._fail(self._token, f"expected `{text}`")
        return self._take()

    def expect_end(self) -> None:
        token = self._token
        if token.kind != "end":
            previous = self._tokens[self._next - 1]
            hint = None
            if (
                previous.kind == "name"
                and previous.text.lower() in ("and", "or", "not")
                and token.kind in ("name", "dollar")
            ):
                hint = f"write `{previous.text.lower()}` in lower case"
            elif token.kind == "name" and token.text.lower() in ("and", "or", "not", "in"):
                hint = f"write `{token.text.lower()}` in lower case"
            self._fail(token, "expected an operator or the end", hint)

    def _fail(self, token: Token, wanted: str, suggestion: str | None = None) -> NoReturn:
        if token.kind == "end":
            raise ExprSyntaxError(
                "EXP006", f"{wanted}, but the expression ends", start=token.start, end=token.end, suggestion=suggestion
            )
        found = self._source[token.start : token.end][:40]
        raise ExprSyntaxError(
            "EXP005", f"{wanted}, not `{found}`", start=token.start, end=token.end, suggestion=suggestion
        )

    # Expressions

    def expression(self, floor: int) -> Expr:
        """An expression whose operators bind at least as tightly as `floor`."""
        self._depth += 1
        if self._depth > self._budget.depth * _RECURSION_PER_DEPTH:
            raise too_deep(self._budget, self._token.start, self._token.end)
        left = self._prefix()
        # Each turn puts one more node above the first operand: a long chain ends here, not after all of it was read.
        for _ in range(self._budget.depth + 1):
            token = self._token
            power = _INFIX.get(token.text, 0) if token.kind in ("op", "name") else 0
            if power == 0 or power < floor:
                break
            left = self._infix(left, token, power)
        else:
            raise too_deep(self._budget, left.start, left.end)
        self._depth -= 1
        return left

    def _infix(self, left: Expr, token: Token, power: int) -> Expr:
        self._take()
        match token.text:
            case "?":
                return self._conditional(left)
            case "|":
                return self._pipe(left)
            case "??":
                right = self.expression(power)
                return Coalesce(left.start, right.end, left, right)
            case "||" | "or" | "&&" | "and":
                return self._logical(left, token, power)
            case "not":
                if not (self._token.kind == "name" and self._token.text == "in"):
                    self._fail(self._token, "expected `in` after `not`")
                self._take()
                right = self.expression(power + 1)
                inner = Binary(left.start, right.end, "in", left, right)
                return Unary(left.start, right.end, "!", inner)
            case operator:
                right = self.expression(power + 1)
                return Binary(left.start, right.end, operator, left, right)

    def _conditional(self, test: Expr) -> Expr:
        then = self.expression(_OR)
        self._expect(":")
        other = self.expression(_CONDITIONAL)
        return Conditional(test.start, other.end, test, then, other)

    def _logical(self, left: Expr, token: Token, power: int) -> Expr:
        spellings = ("||", "or") if power == _OR else ("&&", "and")
        operands = [left, self.expression(power + 1)]
        while self._token.kind in ("op", "name") and self._token.text in spellings:
            self._take()
            operands.append(self.expression(power + 1))
        return Logical(left.start, operands[-1].end, spellings[0], tuple(operands))

    def _pipe(self, left: Expr) -> Expr:
        token = self._take()
        if token.kind != "name":
            hint = "write `||` or `or`" if token.text == "|" else None
            self._fail(token, "expected the name of a function after `|`", hint)
        name = token.text
        end = token.end
        while self._accept("."):
            part = self._take()
            if part.kind != "name":
                self._fail(part, "expected the name of a function")
            name, end = f"{name}.{part.text}", part.end
        if self._at("("):
            return self._call(left, name, left.start)
        return Call(left.start, end, name, (left,), True)

    def _prefix(self) -> Expr:
        token = self._token
        if token.kind == "name" and token.text == "not":
            self._take()
            operand = self.expression(_NOT + 1)
            return Unary(token.start, operand.end, "!", operand)
        if token.kind == "op" and token.text in ("!", "-"):
            self._take()
            following = self._token
            if token.text == "-" and following.kind == "literal" and following.start == token.end:
                value = following.value
                if isinstance(value, int | float) and type(value) in (int, float):
                    self._take()
                    return self._postfix(Literal(token.start, following.end, -value))
            operand = self.expression(_UNARY)
            return Unary(token.start, operand.end, token.text, operand)
        return self._postfix(self._primary())

    def _postfix(self, left: Expr) -> Expr:
        for _ in range(self._budget.depth + 1):
            if self._accept("."):
                optional = self._accept("?")
                token = self._take()
                if token.kind not in ("name", "quoted"):
                    self._fail(token, "expected a field name after `.`", 'write `["…"]` for other keys')
                if token.kind == "name" and self._at("(") and not optional:
                    left = self._call(left, token.text, left.start)
                else:
                    left = Select(left.start, token.end, left, token.text, optional)
            elif self._accept("["):
                optional = self._accept("?")
                index = self.expression(0)
                end = self._expect("]").end
                left = Index(left.start, end, left, index, optional)
            else:
                return left
        raise too_deep(self._budget, left.start, left.end)

    def _primary(self) -> Expr:
        token = self._take()
        match token.kind:
            case "literal":
                if type(token.value) is int and token.value > INT_MAX:
                    raise ExprSyntaxError(
                        "EXP004", "integer literal outside of the 64-bit range", start=token.start, end=token.end
                    )
                return Literal(token.start, token.end, token.value)
            case "dollar":
                return Name(token.start, token.end, token.text, True)
            case "name":
                return self._name(token)
            case "op" if token.text == "(":
                inner = self.expression(0)
                self._expect(")")
                return inner
            case "op" if token.text == "[":
                return self._list(token)
            case "op" if token.text == "{":
                return self._map(token)
            case "op" if token.text == "." and self._token.kind == "name":
                # CEL's leading dot: the name is looked up from the root, past the variables of macros.
                return self._name(self._take(), rooted=True)
            case _:
                return self._fail(token, "expected a value", "strings need quotes" if token.kind == "op" else None)

    def _name(self, token: Token, *, rooted: bool = False) -> Expr:
        if token.text in _CONSTANTS:
            return Literal(token.start, token.end, _CONSTANTS[token.text])
        if token.text in _RESERVED:
            self._fail(token, "expected a value", f"write `${token.text}` if this is a name")
        if not self._at("("):
            return Name(token.start, token.end, token.text, False, rooted)
        if token.text == "has":
            return self._has(token)
        return self._call(None, token.text, token.start)

    def _has(self, token: Token) -> Expr:
        self._expect("(")
        args, end = self._items(")")
        if len(args) != 1 or not isinstance(args[0], Select | Index):
            raise ExprSyntaxError("EXP009", "`has` takes one field, as in `has($a.b)`", start=token.start, end=end)
        return Has(token.start, end, args[0])

    def _items(self, closing: str) -> tuple[tuple[Expr, ...], int]:
        """Expressions up to and with the closing bracket; a comma may stand behind the last one."""
        items: list[Expr] = []
        while not self._at(closing):
            items.append(self.expression(0))
            if not self._accept(","):
                break
        return tuple(items), self._expect(closing).end

    def _list(self, opening: Token) -> Expr:
        items: list[Expr] = []
        optional: set[int] = set()
        while not self._at("]"):
            if self._accept("?"):
                optional.add(len(items))
            items.append(self.expression(0))
            if not self._accept(","):
                break
        return ListLiteral(opening.start, self._expect("]").end, tuple(items), frozenset(optional))

    def _map(self, opening: Token) -> Expr:
        entries: list[tuple[Expr, Expr]] = []
        optional: set[int] = set()
        while not self._at("}"):
            if self._accept("?"):
                optional.add(len(entries))
            key = self.expression(0)
            self._expect(":")
            entries.append((key, self.expression(0)))
            if not self._accept(","):
                break
        return MapLiteral(opening.start, self._expect("}").end, tuple(entries), frozenset(optional))

    def _call(self, receiver: Expr | None, name: str, start: int) -> Expr:
        opening = self._expect("(")
        args, end = self._items(")")
        if receiver is None:
            return Call(start, end, name, args, False)
        if name in MACROS:
            return self._macro(receiver, name, args, opening.start, end)
        if name == "bind" and isinstance(receiver, Name) and receiver.name == "cel" and not receiver.dollar:
            return self._bind(start, args, opening.start, end)
        if name == "sortBy" and len(args) == 2 and isinstance(args[0], Name):
            return Macro(start, end, "sortBy", receiver, (self._variable(args[0], "sortBy"),), None, args[1])
        return Call(start, end, name, (receiver, *args), True)

    def _macro(self, source: Expr, name: str, args: tuple[Expr, ...], opening: int, end: int) -> Expr:
        if len(args) not in MACROS[name]:
            counts = " or ".join(str(count) for count in MACROS[name])
            raise ExprSyntaxError("EXP009", f"`{name}` takes {counts} arguments", start=opening, end=end)
        # `map` and `transform…` end with the result, before it the filter; the others end with the condition.
        yields = name in _YIELDING
        filtered = yields and len(MACROS[name]) == 2 and len(args) == MACROS[name][-1]
        count = len(args) - 1 - filtered
        variables = [self._variable(arg, name) for arg in args[:count]]
        if len(set(variables)) < len(variables):
            raise ExprSyntaxError("EXP009", f"`{name}` needs two different names", start=opening, end=end)
        predicate = args[-2] if filtered else (None if yields else args[-1])
        body = args[-1] if yields else None
        kind = "exists_one" if name == "existsOne" else name
        return Macro(source.start, end, kind, source, tuple(variables), predicate, body)

    def _bind(self, start: int, args: tuple[Expr, ...], opening: int, end: int) -> Expr:
        """`cel.bind(name, value, expression)`: the expression, with the value under that name."""
        if len(args) != 3:
            raise ExprSyntaxError("EXP009", "`cel.bind` takes 3 arguments", start=opening, end=end)
        return Macro(start, end, "bind", args[1], (self._variable(args[0], "cel.bind"),), None, args[2])

    def _variable(self, arg: Expr, macro: str) -> str:
        if not isinstance(arg, Name) or arg.name == "$" or arg.rooted:
            written = "cel.bind(name, …, …)" if macro == "cel.bind" else f".{macro}(item, …)"
            raise ExprSyntaxError(
                "EXP009",
                f"`{macro}` takes the name of a variable first",
                start=arg.start,
                end=arg.end,
                suggestion=f"write `{written}`",
            )
        return arg.name
