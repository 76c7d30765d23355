"""`segue plan`: a dry run. What would happen with given inputs, with no call outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from segue.cli.errors import FAILED, SUCCEEDED, USAGE
from segue.cli.options import ActionsOption, JsonOption
from segue.errors import InvalidInputError, RequestError

if TYPE_CHECKING:
    from rich.console import Console

    from segue.cli.offline import OfflineFlow
    from segue.engine.dry_run import DryRun, Needs, PlannedBeginning, PlannedStep, PlanProblem
    from segue.engine.mocks import Mock
    from segue.flow import Flow

SHOWN_CHARACTERS = 400
SHOWN_ITEMS = 3
"""Items of a loop that are printed in full; of the others, those that go another way."""
_INDEX: Final = re.compile(r"\[(\d+)\]")


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The flow's YAML or JSON file; `-` is stdin.")],
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input, read by its declared type. Repeatable."),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="Inputs as a YAML or JSON map; `-` is stdin.")
    ] = None,
    mock: Annotated[
        list[str] | None,
        typer.Option("--mock", "-m", metavar="STEP=JSON", help="What a step is answered with. Repeatable."),
    ] = None,
    mocks: Annotated[
        str | None, typer.Option("--mocks", metavar="FILE", help="Answers as a YAML or JSON map by step.")
    ] = None,
    trigger: Annotated[
        str | None,
        typer.Option("--trigger", metavar="JSON|FILE", help="The event that starts the run: {body: …, headers: …}."),
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Make up the required inputs that are not given, from their schema.")
    ] = False,
    now: Annotated[str | None, typer.Option("--now", metavar="TIME", help="When the run begins (RFC 3339).")] = None,
    actions: ActionsOption = None,
    json: JsonOption = False,
) -> int:
    """Show what a run would do: real expressions and branches, no call outside, no waiting.

    Exit code: 0 the run would end well, 1 it would not, 2 the flow, its inputs or the mocks cannot be used.
    """
    from segue.cli.inputs import gather_inputs
    from segue.cli.offline import load_offline
    from segue.cli.output import console, print_json
    from segue.cli.problems import print_problems
    from segue.engine.rehearsal import DEFAULT_MOMENT

    found = load_offline(file, actions)
    if found.flow is None:
        return report_unusable(found, json=json)
    made = _planned(
        found.flow,
        gather_inputs(input, inputs, found.flow.inputs),
        found.actions,
        mocks=mocks_given(found, mock, mocks),
        trigger=None if trigger is None else _event(trigger),
        now=DEFAULT_MOMENT if now is None else _moment(now),
        document=found.document,
        samples=samples,
    )
    if json:
        print_json({"file": found.name, **_as_map(made), "warnings": [str(one) for one in found.problems]})
    else:
        print_problems(console(stderr=True), found.problems, found.text, found.name)
        _print(console(), made, found.name)
    return SUCCEEDED if made.ok else FAILED


def _planned(flow: Flow, given: dict[str, Any], *more: Any, samples: bool, **options: Any) -> DryRun:
    """The dry run; of missing inputs it says how to give them. Raises InvalidInputError."""
    from segue.engine.dry_run import dry_run

    try:
        return dry_run(flow, given, *more, samples=samples, **options)
    except InvalidInputError as error:
        missing = [path for path, sentence in error.details if sentence == "is required" and "." not in path]
        if not missing or samples:
            raise
        options_text = " ".join(f"--input {name}=…" for name in missing)
        message = f"{error.message}; give {options_text}, or let samples stand in with --samples"
        raise InvalidInputError(message, error.details) from error


def _event(text: str) -> dict[str, Any]:
    """The event of `--trigger`: JSON (or YAML) as it stands, or a file of it. Raises RequestError."""
    from segue.cli.flow_file import read_bytes

    is_text = text.lstrip().startswith("{")
    what = "--trigger" if is_text else f"--trigger {text}"
    event = _value(text if is_text else read_bytes(text, "trigger").decode("utf-8", "replace"), what)
    if not isinstance(event, dict):
        raise RequestError(f"{what}: an event is a map, such as {{body: {{amount: 3}}, headers: {{}}}}")
    return cast("dict[str, Any]", event)


def _as_map(made: DryRun) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(made)


def report_unusable(found: OfflineFlow, *, json: bool) -> int:
    """Say what is wrong with the flow; the exit code."""
    from segue.cli.output import console, print_json
    from segue.cli.problems import print_problems, summary

    if json:
        problems = [str(one) for one in found.problems]
        print_json({"file": found.name, "ok": False, "status": "unusable", "problems": problems})
    else:
        print_problems(console(stderr=True), found.problems, found.text, found.name)
        console(stderr=True).print(f"{found.name}: {summary(found.problems)}")
    return USAGE


def _moment(text: str) -> int:
    from segue.kernel.durations import InvalidDuration, moment_of

    try:
        return moment_of(text)
    except InvalidDuration as error:
        raise RequestError(f"--now: {error}") from error


def mocks_given(found: OfflineFlow, pairs: list[str] | None, file: str | None) -> dict[str, Mock]:
    """The mocks of the file, then the pairs, which win. Raises RequestError."""
    from segue.cli.flow_file import read_bytes
    from segue.engine.answers import all_steps
    from segue.engine.mocks import MockError, read_mock, read_mocks
    from segue.flow.nearest import did_you_mean

    given: dict[str, Mock] = {}
    try:
        if file is not None:
            given |= read_mocks(_value(read_bytes(file, "mock").decode("utf-8", "replace"), f"--mocks {file}"))
        for pair in pairs or ():
            name, sign, text = pair.partition("=")
            if not sign or not name:
                raise RequestError(f"--mock {pair!r}: write STEP=JSON")
            given[name] = read_mock(_value(text, f"--mock {name}"), (name,))
    except MockError as error:
        raise InvalidInputError(f"the mocks cannot be used: {error}", [(_path(error.path), error.message)]) from error
    known = [step.id for step in all_steps(found.flow)] if found.flow is not None else []
    for name in given:
        if name not in known and name.rpartition(".")[2] not in known:
            hint = did_you_mean(name, known) or f"steps: {', '.join(known[:12])}"
            raise RequestError(f"--mock {name}: the flow has no such step; {hint}")
    return given


def _path(parts: tuple[str | int, ...]) -> str:
    from segue.flow.document import join_path

    return join_path("", *parts)


def _value(text: str, what: str) -> Any:
    from segue.flow.yaml_source import read_source

    document, problems = read_source(text)
    errors = [one for one in problems if one.severity == "error"]
    if errors:
        raise RequestError(f"{what}: {errors[0].message}")
    return None if document is None else document.root.plain()


# ---------------------------------------------------------------- for people


def _print(out: Console, made: DryRun, file: str) -> None:
    from rich.text import Text

    from segue.cli.output import counted

    out.print(Text(f"{made.flow} ({file}): a dry run, nothing is sent", "bold"))
    if made.beginning is not None:
        _print_beginning(out, made.beginning)
    if made.sampled_inputs:
        shown = {name: made.inputs.get(name) for name in made.sampled_inputs}
        out.print(Text(f"  assumes sample inputs: {_short(shown)}", "yellow"))
    _print_steps(out, made.steps)
    if made.not_listed:
        out.print(Text(f"  … and {counted(made.not_listed, 'more step')} of loops", "dim"))
    if made.not_reached:
        out.print(Text("not reached", "bold"))
        for step in made.not_reached:
            out.print(Text(f"  – {step.id}  {step.reason}", "dim"))
    if made.problems:
        out.print(Text("problems", "bold"))
        for problem in made.problems:
            _print_problem(out, problem, file)
    _print_needs(out, made.needs)
    _print_end(out, made)


def _print_beginning(out: Console, found: PlannedBeginning) -> None:
    from rich.text import Text

    said = "would start a run" if found.begins else "would start no run"
    told = f"trigger ({found.kind}): {said}" if found.kind else "event: the flow has no trigger for it; taken as it is"
    line = Text("  ")
    line.append("✓ " if found.begins else "– ", "green" if found.begins else "yellow")
    line.append(told, "bold")
    out.print(line)
    if found.reason:
        out.print(Text(f"    {found.reason}"))
    if found.begins:
        out.print(Text(f"    gives the inputs {_short(found.inputs)}"))


def _print_steps(out: Console, steps: list[PlannedStep]) -> None:
    """Each step; of a loop's items the first few, and those that go another way than those before."""
    from rich.text import Text

    from segue.cli.output import counted

    seen: set[tuple[str, str, str | None]] = set()
    folded: dict[str, set[str]] = {}
    for step in _by_item(steps):
        for loop in [loop for loop in folded if not step.id.startswith(f"{loop}[")]:
            out.print(
                Text(f"{'  ' * (2 + loop.count('.'))}… {counted(len(folded.pop(loop)), 'more item')} alike", "dim")
            )
        found = list(_INDEX.finditer(step.id))
        way = (_INDEX.sub("[]", step.id), step.status, None if found else step.reason)
        late = next((one for one in found if int(one.group(1)) >= SHOWN_ITEMS), None)
        if late is not None and way in seen and step.error is None:
            folded.setdefault(step.id[: late.start()], set()).add(late.group(1))
            continue
        seen.add(way)
        _print_step(out, step)
    for loop, items in folded.items():
        out.print(Text(f"{'  ' * (2 + loop.count('.'))}… {counted(len(items), 'more item')} alike", "dim"))


def _by_item(steps: list[PlannedStep]) -> Iterator[PlannedStep]:
    """The steps of a loop after it, item by item: items run side by side, but are read one after the other."""
    loops: dict[str, list[PlannedStep]] = {}
    for step in steps:
        if found := _INDEX.search(step.id):
            loops.setdefault(step.id[: found.start()], []).append(step)
    for step in steps:
        if _INDEX.search(step.id) is None:
            yield step
            yield from sorted(loops.pop(step.id, ()), key=_items_of)
    for rest in loops.values():
        yield from rest


def _items_of(step: PlannedStep) -> int:
    """The outermost item that the step belongs to."""
    found = _INDEX.search(step.id)
    return int(found.group(1)) if found else 0


def _print_needs(out: Console, needs: Needs) -> None:
    from rich.text import Text

    from segue.cli.output import counted

    lines: list[tuple[str, str]] = []
    for secret in needs.secrets:
        users = f"read by {', '.join(secret.steps)}" if secret.steps else "declared, but not read by any step"
        lines.append((f"secret {secret.name} from {secret.source}: {users}", ""))
    lines += [(f"connection {name}", "") for name in needs.connections]
    if needs.hosts:
        lines.append((f"access to {', '.join(needs.hosts)}", ""))
    if needs.unsafe:
        names = ", ".join(needs.unsafe)
        lines.append((f"care: a repeat of {names} may do harm, so without an answer it is left to a person", "yellow"))
    if needs.outside_calls:
        actions = ", ".join(needs.actions)
        lines.insert(0, (f"{counted(needs.outside_calls, 'call')} would go out: {actions}", ""))
    if not lines:
        return
    out.print(Text("needs", "bold"))
    for text, style in lines:
        out.print(Text(f"  {text}", style))


def _print_step(out: Console, step: PlannedStep) -> None:
    from rich.text import Text

    from segue.cli.output import SIGNS, STYLES

    depth = 1 + step.id.count(".")
    line = Text("  " * depth)
    line.append(f"{SIGNS.get(step.status, '·')} ", STYLES.get(step.status, ""))
    line.append(step.id, "bold" if step.status != "skipped" else "dim")
    line.append(f"  {step.would}")
    if step.effect is not None:
        line.append(f"  [{step.effect}]", "dim")
    out.print(line)
    margin = "  " * (depth + 1)
    details: list[tuple[str, str]] = []
    details += [(asked, "") for asked in step.asks if step.status != "skipped"]
    if step.reason:
        details.append((step.reason, ""))
    for call in step.calls:
        number = f"call {call.number}: " if len(step.calls) > 1 else ""
        if call.params:
            details.append((f"{number}with {_short(call.params)}", ""))
        if call.error is not None:
            details.append((f"{number}{call.error['category']}: {call.error['message']}", "yellow"))
    if step.kind in ("set", "map", "return") and step.output is not None:
        details.append((_short(step.output), ""))
    if step.assumed:
        details.append((f"{step.assumed}: {_short(step.output)}", "yellow"))
    if step.assumes:
        details.append((f"hangs on the assumed answer of {', '.join(step.assumes)}", "yellow"))
    for text, style in details:
        out.print(Text(f"{margin}{text}", style))


def _print_problem(out: Console, problem: PlanProblem, file: str) -> None:
    from rich.text import Text

    place = f"{file}:{problem.line}:{problem.column}" if problem.line is not None else file
    where = f"{problem.step}: " if problem.step else ""
    kind = f"{problem.category}: " if problem.category else ""
    line = Text("  ")
    line.append(problem.severity, "bold red" if problem.severity == "error" else "bold yellow")
    line.append(f" {place} {where}{kind}{problem.message}")
    out.print(line)
    if problem.assumes:
        names = ", ".join(problem.assumes)
        out.print(Text(f"    hangs on the assumed answer of {names}; say what it is with --mock STEP=JSON", "dim"))


def _print_end(out: Console, made: DryRun) -> None:
    from rich.text import Text

    from segue.cli.output import STYLES, duration

    if made.beginning is not None and not made.beginning.begins:
        return
    line = Text()
    line.append(f"would end as {made.status}", STYLES.get(made.status, "red"))
    if made.took_seconds:
        line.append(f" after {duration(round(made.took_seconds * 1000))}")
    if made.error is not None:
        line.append(f": {made.error['category']}: {made.error['message']}")
    out.print(line)
    if made.outputs is not None:
        out.print(Text(f"outputs {_short(made.outputs)}"))
    if made.outputs_assume:
        out.print(Text(f"  they hang on the assumed answer of {', '.join(made.outputs_assume)}", "yellow"))


def _short(value: object) -> str:
    import msgspec

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
