"""Python functions for flows to use: loading the files and modules that `--actions` names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Final

from segue.engine.port import Action
from segue.errors import RequestError
from segue.steps.python import actions_of

BESIDE_THE_FLOW: Final = "actions.py"

Threads = Callable[[], ThreadPoolExecutor | None]


def sources_of(given: Iterable[str] | None, folder: Path | None) -> tuple[list[str], str | None]:
    """Files (absolute) and modules to load, and the one among them that nobody named: `actions.py` beside the flow."""
    sources = [_absolute(source) for source in given or ()]
    beside = None if folder is None else folder / BESIDE_THE_FLOW
    if beside is None or not beside.is_file() or str(beside) in sources:
        return sources, None
    return [*sources, str(beside)], str(beside)


def load_actions(source: str, threads: Threads) -> list[Action]:
    """The marked functions of a file or module. Raises RequestError if it cannot be loaded or has none."""
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    try:
        found = actions_of(module, threads=threads)
    except TypeError as error:
        raise RequestError(f"the actions of {source} cannot be used: {error}") from error
    if not found:
        raise RequestError(f'{source} has no actions; mark its functions with @segue.action("name")')
    return found


def _absolute(source: str) -> str:
    return str(Path(source).expanduser().absolute()) if source.endswith(".py") else source


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RequestError(f"there is no file {path} (--actions)")
    name = f"segue_actions_{abs(hash(str(path))):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path} cannot be loaded as Python (--actions)")
    module = importlib.util.module_from_spec(spec)
    # As with `python FILE`: what lies beside the file can be imported, and the module is found by its name (which
    # dataclasses and pickle ask for).
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RequestError(_told(str(path), error)) from error
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise RequestError(_told(name, error)) from error


def _told(source: str, error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if frame.filename == source]
    line = getattr(error, "lineno", None) or (own[-1].lineno if own else None)
    where = f"{source}, line {line}" if line else source
    return f"the actions of {where} cannot be loaded: {type(error).__name__}: {error}"
