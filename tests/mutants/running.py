"""Runs the tests of a module against its mutants, each in a fork of a process with the libraries.

A fork costs no import of a third-party module, and no file of the tree changes.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from functools import partial
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

    from mutants.mutations import Mutant

ROOMS: Final = ("semconv", "instrumentation", "exporter")
_PASSED, _NO_TESTS = 0, 5
_OUR_PACKAGES: Final = ("tokenledger", "tokenledger_exporter", "tokenledger_semconv")
_TEST_PACKAGES: Final = ("tests", "support", "conftest", "mutants", "exchanges", "__")
_PLUGINS: Final = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin")
_MAX_MEMORY_BYTES: Final = 8 << 30
_MAX_FILE_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A module to mutate.

    Args:
        path: its file, from the project's root.
        tests: the files and folders of its tests.
    """

    path: Path
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """Its import name."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[1:] if parts[0] in ROOMS else parts)


def survivors(target: Target, mutants: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """The mutants that all tests pass with.

    Raises:
        RuntimeError: the tests do not pass without a change.
    """
    timeout = _prepare(target)
    with warnings.catch_warnings():
        # A fork of a process with threads; the threads are idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _survivors(target, mutants, jobs, timeout)


def _prepare(target: Target) -> float:
    """Import the libraries of the tests; return how many seconds a mutant may take."""
    source = target.path.read_text(encoding="utf-8")
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as names:

        def run() -> int:
            code = _run_tests(target, source)
            Path(names.name).write_text("\n".join(sys.modules), encoding="utf-8")
            return code

        # Any failing example kills a mutant; a smaller one is not needed.
        settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), database=None)
        _expect_pass(target, _start(run))
        for name in names.read().split():
            if not name.startswith(_TEST_PACKAGES) and "test" not in name:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
    _unload_importers(target.module)
    # A collection in a fork copies every page.
    gc.collect()
    gc.freeze()
    start = time.monotonic()
    _expect_pass(target, _start(lambda: _run_tests(target, source)))
    return 10 + 4 * (time.monotonic() - start)


def _unload_importers(module: str) -> None:
    """Unload the target and all modules of ours that import it, directly or not."""
    loaded = {name for name in sys.modules if name.partition(".")[0] in _OUR_PACKAGES}
    imports = {name: _imports(name) & loaded for name in loaded}
    stale = {module}
    while more := {name for name, used in imports.items() if used & stale} - stale:
        stale |= more
    for name in stale & loaded:
        package, _, attribute = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(attribute, None)
    for name in stale & loaded:
        del sys.modules[name]


def _imports(name: str) -> set[str]:
    """The modules that a module names in its imports, and the packages that hold them."""
    file = sys.modules[name].__file__
    tree = ast.parse(Path(file).read_bytes()) if file else ast.Module([], [])
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named.add(node.module)
            named.update(f"{node.module}.{alias.name}" for alias in node.names)
    packages = {
        ".".join(one.split(".")[:end]) for one in named for end in range(1, one.count(".") + 1)
    }
    return named | packages


def _expect_pass(target: Target, child: int) -> None:
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != _PASSED:
        raise RuntimeError(f"the tests of {target.path} must pass before it is mutated")


def _survivors(
    target: Target, mutants: Iterable[Mutant], jobs: int, timeout: float
) -> list[Mutant]:
    survived: list[Mutant] = []
    running: dict[int, tuple[Mutant, float]] = {}
    waiting = list(reversed(list(mutants)))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            child = _start(partial(_run_tests, target, mutant.source))
            running[child] = (mutant, time.monotonic() + timeout)
        for child, (mutant, deadline) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del running[child]
                _kill_group(child)
                if os.waitstatus_to_exitcode(status) == _PASSED:
                    survived.append(mutant)
            elif time.monotonic() > deadline:
                _kill_group(child)
        time.sleep(0.01)
    return sorted(survived, key=lambda mutant: mutant.line)


def _kill_group(child: int) -> None:
    """End the processes that a test run left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _start(run: Callable[[], int]) -> int:
    """Run in a fork; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        if "TOKENLEDGER_TEST_MUTANTS_VERBOSE" not in os.environ:
            os.dup2(silence, 1)
            os.dup2(silence, 2)
        code = run()
    except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(code)


def _run_tests(target: Target, source: str) -> int:
    """Run the tests with this source of the module."""
    sys.meta_path.insert(0, _MutatedModule(target, source))
    # From the top: some modules cannot be imported before the package that re-exports them.
    for package in _OUR_PACKAGES:
        importlib.import_module(package)
    for name, module in list(sys.modules.items()):
        package, _, attribute = name.rpartition(".")
        if package.partition(".")[0] in _OUR_PACKAGES and package in sys.modules:
            setattr(sys.modules[package], attribute, module)
    folder = tempfile.mkdtemp(prefix="mutant-")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = (
        "-x",
        "-q",
        "--assert=plain",
        "-pno:cacheprovider",
        "-pno:unraisableexception",
        *(f"-p{plugin}" for plugin in _PLUGINS),
    )
    # The plugins are imported before the fork.
    plugins = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    selection = (
        "-m",
        "not integration and not wheel",
        "--hypothesis-seed=0",
        "--hypothesis-profile=mutants",
    )
    try:
        code = pytest.main(
            [*options, *plugins, *selection, "--basetemp", f"{folder}/t", *target.tests]
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code == _NO_TESTS:
        raise RuntimeError(f"{target.path} has no tests in {target.tests}")
    return int(code)


class _MutatedModule:
    """Finds the target, with another source than its file has."""

    def __init__(self, target: Target, source: str) -> None:
        self._target = target
        self._source = source

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """Find the module if it is the target."""
        if name != self._target.module:
            return None
        path = str(self._target.path.resolve())
        return spec_from_file_location(name, path, loader=_Loader(name, path, self._source))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the given source."""
        return compile(self._source, self.get_filename(fullname), "exec")
