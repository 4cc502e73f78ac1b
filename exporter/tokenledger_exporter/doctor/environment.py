"""Checks of the app's environment: SDKs, instrumentors, Celery, exporter, sampler, spool."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.recorder import greenlets
from tokenledger_exporter.spool import access
from tokenledger_exporter.spool.access import file_fault
from tokenledger_exporter.spool.segment import SUFFIX
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint


# SDK -> our instrumentor's entry point, and a method that must be wrapped afterwards.
_SDKS: Final = {"openai": "tokenledger_openai", "anthropic": "tokenledger_anthropic"}


_RIVALS: Final = ("openai", "anthropic")
_MAX_FAULTS_SHOWN: Final = 20


def check_sdks() -> Iterator[Check]:
    """Whether each installed SDK can be patched."""
    for sdk, name in _SDKS.items():
        try:
            found = version(sdk)
        except PackageNotFoundError:
            yield Check(sdk, OK, "not installed, nothing to patch")
            continue
        yield _patched(sdk, found, name)


def _patched(sdk: str, found: str, name: str) -> Check:
    """Instrument for real, look, and undo: a version check alone proves nothing."""
    remedy = f"install a supported {sdk} release (see README, 'Supported versions')"
    try:
        point = next(iter(entry_points(group="opentelemetry_instrumentor", name=name)))
        instrumentor = point.load()()
        was_on = instrumentor.is_instrumented_by_opentelemetry
        instrumentor.instrument()
        patched = instrumentor.is_instrumented_by_opentelemetry
        if not was_on:
            instrumentor.uninstrument()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        return Check(sdk, FAIL, f"{sdk} {found} cannot be patched: {type(error).__name__}", remedy)
    if not patched:
        return Check(sdk, FAIL, f"{sdk} {found} is not patched", remedy)
    return Check(sdk, OK, f"{sdk} {found} is patched")


def check_rivals() -> Iterator[Check]:
    """Other instrumentors of the same SDKs: a broken one is silent, a working one doubles spans."""
    ours = set(_SDKS.values())
    for point in entry_points(group="opentelemetry_instrumentor"):
        if point.name in ours or not point.name.startswith(_RIVALS):
            continue
        package = point.dist.name if point.dist else point.value
        yield _rival(point, package)


def _rival(point: EntryPoint, package: str) -> Check:
    name = f"instrumentor {point.name}"
    try:
        point.load()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        return Check(
            name,
            WARN,
            f"{package} cannot be loaded with these SDKs ({type(error).__name__})",
            f"pip uninstall {package}",
        )
    return Check(
        name,
        WARN,
        f"{package} instruments the same SDK: every call would make two spans",
        f"set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={point.name} or pip uninstall {package}",
    )


def check_celery() -> Iterator[Check]:
    """Whether attribution reaches Celery's workers, where there are any."""
    try:
        version("celery")
    except PackageNotFoundError:
        return
    carrier = "opentelemetry-instrumentation-celery"
    try:
        found = version(carrier)
    except PackageNotFoundError:
        yield Check(
            "celery",
            WARN,
            f"{carrier} is not installed: calls made by tasks are attributed to nobody",
            f"pip install {carrier}, instrument producer and worker, and name the keys to trust in "
            "the worker's TOKENLEDGER_TRUST_BAGGAGE",
        )
        return
    yield Check("celery", OK, f"{carrier} {found} carries attribution to the workers")


def check_provider() -> Check:
    """Whether the app's tracer provider is safe to fork under greenlets."""
    detail, remedy = greenlets.examine_app_provider()
    return Check("tracer provider", WARN if remedy else OK, detail, remedy)


def check_exporter() -> Check:
    """Whether OpenTelemetry finds the exporter's entry point."""
    remedy = "install tokenledger-otel into the environment the app runs in"
    found = entry_points(group="opentelemetry_traces_exporter", name="tokenledger")
    if not found:
        return Check("exporter", FAIL, "OpenTelemetry does not find the exporter", remedy)
    named = os.environ.get("OTEL_TRACES_EXPORTER", "")
    return Check("exporter", OK, f"found; OTEL_TRACES_EXPORTER is {named or 'not set'}")


def check_sampler() -> Check:
    """Which sampler is set; the ledger does not depend on it."""
    named = os.environ.get("OTEL_TRACES_SAMPLER", "") or "the default"
    return Check("sampler", OK, f"{named}; the ledger is complete whatever it samples")


def check_spool(database_url: str) -> Iterator[Check]:
    """Whether the spool's folder is writable and trusted, and what is left in it."""
    folder = access.spool_folder(read_settings().spool_dir, fingerprint(database_url))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} takes no file ({error.strerror})"
        yield Check("spool", FAIL, detail, "point TOKENLEDGER_SPOOL_DIR at a writable folder")
        return
    if fault := access.folder_fault(folder):
        remedy = "point TOKENLEDGER_SPOOL_DIR at a folder that is yours alone"
        yield Check("spool", FAIL, f"{folder} is not used: {fault}", remedy)
        return
    waiting = sum(path.lstat().st_size for path in folder.glob(f"*{SUFFIX}"))
    yield Check("spool", OK, f"{folder} is writable, {waiting} bytes in segments")
    faults = [f"{p.name}: {why}" for p in folder.glob(f"*{SUFFIX}") if (why := file_fault(p))]
    if faults:
        yield Check(
            "spool files",
            WARN,
            f"{len(faults)} segments in {folder} are left alone "
            f"({'; '.join(faults[:_MAX_FAULTS_SHOWN])})",
            "drain them as the user they belong to, or delete them",
        )
    if aside := list(folder.glob("*.bad")):
        yield Check(
            "spool files",
            WARN,
            f"{len(aside)} segments of another format or ledger were kept aside in {folder}",
            "start the release that wrote them once, or delete them",
        )
