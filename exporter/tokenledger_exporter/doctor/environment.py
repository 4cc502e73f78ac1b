"""Checks of the app's environment: SDKs, instrumentors, Celery, exporter, sampler, spool."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.recorder import greenlets
from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.permissions import file_fault
from tokenledger_exporter.spool.segment import SUFFIX
from tokenledger_exporter.spool.waiting import waiting_calls
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint


# SDK -> entry point of our instrumentor.
_SDKS: Final = {"openai": "tokenledger_openai", "anthropic": "tokenledger_anthropic"}
_OTHER_INSTRUMENTORS: Final = ("openai", "anthropic")
_MAX_FAULTS_SHOWN: Final = 20


def check_sdks() -> Iterator[Check]:
    """Check whether each installed SDK can be patched."""
    for sdk, name in _SDKS.items():
        try:
            release = version(sdk)
        except PackageNotFoundError:
            yield Check(sdk, OK, "not installed, nothing to patch")
            continue
        yield _check_patch(sdk, release, name)


def _check_patch(sdk: str, release: str, name: str) -> Check:
    """Instrument the SDK, look, and undo it; the version alone proves nothing."""
    remedy = f"install a supported {sdk} release; the README lists them"
    try:
        point = next(iter(entry_points(group="opentelemetry_instrumentor", name=name)))
        instrumentor = point.load()()
        was_on = instrumentor.is_instrumented_by_opentelemetry
        instrumentor.instrument()
        patched = instrumentor.is_instrumented_by_opentelemetry
        if not was_on:
            instrumentor.uninstrument()
    except Exception as error:  # noqa: BLE001 - any error is the finding
        detail = f"{sdk} {release} cannot be patched: {type(error).__name__}"
        return Check(sdk, FAIL, detail, remedy)
    if not patched:
        return Check(sdk, FAIL, f"{sdk} {release} cannot be patched", remedy)
    return Check(sdk, OK, f"{sdk} {release} can be patched")


def check_other_instrumentors() -> Iterator[Check]:
    """Warn about other instrumentors of the same SDKs: they break, or add a second span."""
    ours = set(_SDKS.values())
    for point in entry_points(group="opentelemetry_instrumentor"):
        if point.name in ours or not point.name.startswith(_OTHER_INSTRUMENTORS):
            continue
        package = point.dist.name if point.dist else point.value
        yield _check_other(point, package)


def _check_other(point: EntryPoint, package: str) -> Check:
    name = f"instrumentor {point.name}"
    try:
        point.load()
    except Exception as error:  # noqa: BLE001 - any error is the finding
        return Check(
            name,
            WARN,
            f"{package} cannot be loaded with these SDKs ({type(error).__name__})",
            f"pip uninstall {package}",
        )
    return Check(
        name,
        WARN,
        f"{package} instruments the same SDK: every call would create two spans",
        f"set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={point.name} or pip uninstall {package}",
    )


def check_celery() -> Iterator[Check]:
    """Check whether attribution reaches Celery's workers, if Celery is installed."""
    try:
        version("celery")
    except PackageNotFoundError:
        return
    instrumentation = "opentelemetry-instrumentation-celery"
    try:
        release = version(instrumentation)
    except PackageNotFoundError:
        yield Check(
            "celery",
            WARN,
            f"{instrumentation} is not installed: calls made by tasks have no attribution",
            f"pip install {instrumentation}, instrument producer and worker, and list the trusted "
            "keys in the worker's TOKENLEDGER_TRUST_BAGGAGE",
        )
        return
    yield Check("celery", OK, f"{instrumentation} {release} passes attribution to the workers")


def check_provider() -> Check:
    """Check whether the app's tracer provider is safe to fork under greenlets."""
    detail, remedy = greenlets.examine_app_provider()
    return Check("tracer provider", WARN if remedy else OK, detail, remedy)


def check_exporter() -> Check:
    """Check whether OpenTelemetry finds the exporter's entry point."""
    remedy = "install tokenledger-otel in the app's environment"
    if not entry_points(group="opentelemetry_traces_exporter", name="tokenledger"):
        return Check("exporter", FAIL, "OpenTelemetry does not find the exporter", remedy)
    name = os.environ.get("OTEL_TRACES_EXPORTER", "")
    return Check("exporter", OK, f"found; OTEL_TRACES_EXPORTER is {name or 'not set'}")


def check_sampler() -> Check:
    """The sampler that is set; the ledger does not depend on it."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "") or "default"
    return Check("sampler", OK, f"{name}; the ledger records every call, sampled or not")


def check_spool(database_url: str) -> Iterator[Check]:
    """Check whether the spool's folder is writable and trusted, and its files usable."""
    folder = permissions.spool_folder(read_settings().spool_dir, fingerprint(database_url))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} is not writable ({error.strerror})"
        yield Check("spool", FAIL, detail, "set TOKENLEDGER_SPOOL_DIR to a writable folder")
        return
    if fault := permissions.folder_fault(folder):
        remedy = "set TOKENLEDGER_SPOOL_DIR to a folder that only you can write"
        yield Check("spool", FAIL, f"{folder} is not used: {fault}", remedy)
        return
    waiting = sum(path.lstat().st_size for path in folder.glob(f"*{SUFFIX}"))
    detail = f"{folder} is writable, {waiting:,} bytes in use"
    if calls := waiting_calls(folder):
        subject = "1 call waits" if calls == 1 else f"{calls:,} calls wait"
        them = "it" if calls == 1 else "them"
        detail += f"; {subject} there, 'tokenledger spool drain' writes {them} to the ledger"
    yield Check("spool", OK, detail)
    faults = [f"{p.name}: {why}" for p in folder.glob(f"*{SUFFIX}") if (why := file_fault(p))]
    if faults:
        yield Check(
            "spool files",
            WARN,
            f"{len(faults)} segments in {folder} are skipped "
            f"({'; '.join(faults[:_MAX_FAULTS_SHOWN])})",
            "drain them as their owner, or delete them",
        )
    if quarantined := list(folder.glob("*.bad")):
        yield Check(
            "spool files",
            WARN,
            f"{len(quarantined)} segments of another format or ledger are quarantined in {folder}",
            "run the release that wrote them once, or delete them",
        )
