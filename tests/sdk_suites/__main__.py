"""The SDKs' own offline tests, bare and with us patched in: none that passes bare may fail.

Run by `make sdk-suites`. It downloads the source distributions of the pinned releases into a
temporary folder and makes an environment there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_HERE = Path(__file__).parent
_PROJECT = _HERE.parent.parent
_UV = _PROJECT / ".venv" / "bin" / "uv"
_TOOLS = (
    *("pytest-xdist", "respx", "time-machine", "dirty-equals", "inline-snapshot", "packaging"),
    *("http-snapshot[httpx]==0.1.9", "trio", "azure-identity", "griffe", "importlib-metadata"),
    *("nest_asyncio", "Pillow", "numpy"),
)


@dataclass(frozen=True)
class Suite:
    """One SDK's suite.

    Args:
        sdk: its name on the package index.
        extras: what its tests import in addition.
        tests: the tests that need neither a network nor a mock server.
        options: what its own settings pass to pytest besides what is passed here.
        meant: tests that fail by what we are for -> why.
        exchanged: lines that say what we are there to change -> what holds with us. The tests they
            stand in run with them, so that all else those tests say is held against us.
    """

    sdk: str
    extras: str
    tests: tuple[str, ...]
    options: tuple[str, ...]
    meant: dict[str, str]
    exchanged: dict[str, str]


_TRACING = "tests.test_open_telemetry."
_OWN_SPAN = "our span is on the app's tracing too, whatever the SDK's own tracing is set to"
_NO_OWN_SPAN = 'assert not registered.named("anthropic.messages.create")'
_USAGE = "the chunk with the usage that we ask for is kept from the app"
_SUITES = (
    Suite(
        "anthropic",
        "aiohttp,aws,bedrock,vertex,mcp,webhooks",
        ("tests", "--ignore=tests/api_resources"),
        ("-p", "tests._alias_httpx"),
        {
            f"{_TRACING}TestTracingFailures.test_disabled_spans_call_nothing_of_"
            "opentelemetry": _OWN_SPAN,
        },
        {
            # Our span is on the app's tracing, whatever the SDK's own tracing is set to.
            "assert registered.finished == ()": _NO_OWN_SPAN,
            # Baggage stays in the house; the trace context goes out as without us.
            'assert request.headers["baggage"] == "tenant=acme"': (
                'assert "baggage" not in request.headers'
            ),
            "for name in TRACE_CONTEXT_HEADERS] == [propagates] * 3": (
                "for name in TRACE_CONTEXT_HEADERS] == [propagates, propagates, False]"
            ),
            "assert sent == [[False, False], [False, False], [False, False], [True, True]]": (
                "assert sent == [[False, False], [False, False], [False, False], [False, True]]"
            ),
        },
    ),
    Suite(
        "openai",
        "aiohttp,bedrock,vertex,realtime",
        (
            *("tests/test_client.py", "tests/test_streaming.py", "tests/test_response.py"),
            *("tests/test_legacy_response.py", "tests/test_module_client.py"),
            *("tests/test_lazy_imports.py", "tests/test_sse_framing.py"),
            *("tests/test_stream_mode.py", "tests/test_httpx2.py", "tests/lib/chat"),
            *("tests/lib/responses", "tests/lib/test_audio.py", "tests/lib/test_embeddings.py"),
            *("tests/lib/test_azure.py", "tests/lib/test_bedrock.py"),
            *("tests/lib/test_vertex_provider.py", "tests/lib/test_responses_tool_runner.py"),
            "tests/lib/test_realtime_websocket_contract.py",
        ),
        (),
        {"tests.lib.chat.test_stream_moderation.test_stream_moderation": _USAGE},
        {},
    ),
)


def main() -> int:
    """Run both suites both ways; 1 if a test that passes bare fails patched."""
    with tempfile.TemporaryDirectory(prefix="sdk-suites-") as name:
        folder = Path(name)
        python = _environment(folder)
        differing = [suite.sdk for suite in _SUITES if _differs(folder, python, suite)]
        return int(bool(differing))


def _environment(folder: Path) -> Path:
    python = folder / "venv" / "bin" / "python"
    lock = _PROJECT / "requirements.lock"
    install = (_UV, "pip", "install", "--quiet", "--python", python)
    _run(_UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    _run(_UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock)
    _run(*install, "--no-deps", "--no-build-isolation", "--editable", _PROJECT)
    pins = [f"{suite.sdk}[{suite.extras}]=={_pinned(suite.sdk)}" for suite in _SUITES]
    _run(*install, *pins, *_TOOLS)
    return python


def _differs(folder: Path, python: Path, suite: Suite) -> bool:
    release = f"{suite.sdk}-{_pinned(suite.sdk)}"
    source = f"{suite.sdk}=={_pinned(suite.sdk)}"
    fetch = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(sys.executable, *fetch, "--no-binary", suite.sdk, "--dest", folder, source)
    with tarfile.open(folder / f"{release}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    bare = _failures(folder, python, suite, folder / release, ())
    _exchange(suite, folder / release / "tests")
    patched = _failures(folder, python, suite, folder / release, ("-p", "patched_sdks"))
    print(f"{release}: {_count(bare)} bare, {_count(patched)} patched")  # noqa: T201 - its result
    broken = [test for test in sorted(patched.failed - bare.failed) if _plain(test) in suite.meant]
    for test in broken:
        print(f"  meant: {test}: {suite.meant[_plain(test)]}")  # noqa: T201
    ours = sorted(patched.failed - bare.failed - set(broken))
    gone = sorted(bare.ran - patched.ran)
    for test in (*ours, *gone):
        print(f"  BROKEN BY US: {test}")  # noqa: T201
    return bool(ours or gone) or not bare.ran


def _exchange(suite: Suite, tests: Path) -> None:
    unused = set(suite.exchanged)
    for path in sorted(tests.rglob("test_*.py")) if unused else ():
        text = before = path.read_text()
        for line, instead in suite.exchanged.items():
            if line in text:
                unused.discard(line)
                text = text.replace(line, instead)
        if text != before:
            path.write_text(text)
    if unused:
        raise LookupError(f"no test of {suite.sdk} says any more: {sorted(unused)}")


@dataclass(frozen=True)
class _Outcome:
    ran: frozenset[str]
    failed: frozenset[str]


def _failures(
    folder: Path, python: Path, suite: Suite, source: Path, plugin: tuple[str, ...]
) -> _Outcome:
    report = folder / f"{suite.sdk}{'-'.join(plugin)}.xml"
    quiet = ("-q", "-n", "auto", "-o", "addopts=", "--continue-on-collection-errors")
    command = (
        python,
        "-m",
        "pytest",
        *quiet,
        "-p",
        "no:cacheprovider",
        *suite.options,
        *plugin,
        f"--junitxml={report}",
    )
    environment = {**os.environ, "PYTHONPATH": str(_HERE)}
    subprocess.run(
        [*map(str, command), *suite.tests],
        cwd=source,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    ran: set[str] = set()
    failed: set[str] = set()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest's own, just written
        name = f"{case.get('classname')}.{case.get('name')}"
        ran.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
    return _Outcome(frozenset(ran), frozenset(failed))


def _count(outcome: _Outcome) -> str:
    return f"{len(outcome.failed)} of {len(outcome.ran)} failed"


def _plain(test: str) -> str:
    return test.partition("[")[0]


def _pinned(sdk: str) -> str:
    found = re.search(rf"^{sdk}==(\S+)", (_PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"requirements.lock pins no {sdk}: run make lock")
    return found[1]


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
