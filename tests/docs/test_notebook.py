"""The example notebook runs in a kernel, and the page shows what the code makes today."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from docs.conftest import BIN, ROOT
from scripts import draw_notebook
from tokenledger_exporter.demo.sample_ledger import fill_sample_ledger

if TYPE_CHECKING:
    from pathlib import Path


def notebook_of(file: Path) -> Any:  # noqa: ANN401 - nbformat's node
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call] # pyright: ignore[reportUnknownVariableType]


def outputs_of(notebook: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - nbformat's node
    """What each cell of code shows, by the type of its content."""
    shown: list[dict[str, Any]] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data: dict[str, Any] = {}
            for output in cell.outputs:
                data |= dict(output.get("data", {}))
                data |= {"text": output["text"]} if "text" in output else {}
            shown.append(data)
    return shown


# The kernel's client has a socket that it closes when it is collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_notebook_runs_in_a_kernel_and_shows_tables_and_plots(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_sample_ledger(database_url, days=40)
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    file = tmp_path / "notebook.ipynb"
    source = ROOT / "examples" / "notebook.py"
    command = [
        str(BIN / "jupytext"),
        "--quiet",
        "--to",
        "ipynb",
        "--output",
        str(file),
        str(source),
    ]
    subprocess.run(command, check=True)
    notebook = notebook_of(file)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, table, bars, line, causes, cause_bars, total, frame = outputs_of(notebook)
    assert "agent-research" in table["text/html"]
    assert "coverage: " in table["text/html"]
    for plot in (bars, line, cause_bars):
        assert plot["image/png"]
    assert "number of calls" in causes["text/html"]
    assert " USD in " in total["text"]
    assert "agent-research" in frame["text/html"]


def test_the_table_and_the_plot_of_the_page_are_what_the_code_makes(database_url: str) -> None:
    report = draw_notebook.sample_report(database_url)
    remedy = "run python -m scripts.draw_notebook"
    assert draw_notebook.table_of_page() == draw_notebook.shown(report), remedy
    picture = draw_notebook.PICTURE.read_text(encoding="utf-8")
    assert draw_notebook.fingerprint(report) in picture, remedy
