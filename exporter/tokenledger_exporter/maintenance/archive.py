"""Archives one month of calls in a file: Parquet if pyarrow is installed, else gzipped CSV.

A file gets its final name when it is complete and on disk. Amounts are text with all their digits.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_SQL: Final = statements("retention")
_ROWS: Final = 10_000
# Windows has no O_NOFOLLOW.
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)

# Postgres type -> pyarrow type; every other type is written as text.
_ARROW: Final = {
    "bigint": "int64",
    "double precision": "float64",
    "boolean": "bool_",
    "bytea": "binary",
}


def problem_with(folder: Path) -> str:
    """Why no file can be written to a folder by this user on this machine; "" if one can be."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    try:
        # By trying: permissions alone do not tell a file system that takes no files.
        Path(tempfile.mkdtemp(dir=nearest)).rmdir()
    except OSError as error:
        return f"{nearest}: {error.strerror}"
    return ""


def archive_month(
    connection: psycopg.Connection[Any], partition: str, folder: Path
) -> tuple[Path, int]:
    """Write a partition's rows; returns the file and its number of rows.

    Raises:
        OSError: the file could not be written; no partial file is left.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    is_parquet = importlib.util.find_spec("pyarrow") is not None
    file = _free_name(folder, partition, "parquet" if is_parquet else "csv.gz")
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    # A new file that only its owner can read, so that other users of the folder can neither read
    # nor replace it.
    descriptor = os.open(unfinished, _NEW_FILE, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as archive_file:
            rows = (_write_parquet if is_parquet else _write_csv)(
                connection, partition, archive_file
            )
            archive_file.flush()
            os.fsync(archive_file.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return file, rows


def _free_name(folder: Path, partition: str, suffix: str) -> Path:
    """A name without an archive: a month may get late rows and be dropped again."""
    number, file = 1, folder / f"{partition}.{suffix}"
    while os.path.lexists(file):
        number += 1
        file = folder / f"{partition}-{number}.{suffix}"
    return file


def _write_csv(connection: psycopg.Connection[Any], partition: str, file: BinaryIO) -> int:
    statement = sql.SQL(_SQL["copy_month"]).format(leaf=sql.Identifier(partition))
    with gzip.GzipFile(fileobj=file, mode="wb") as written, connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for part in copy:
                written.write(part)
        return cursor.rowcount


def _write_parquet(connection: psycopg.Connection[Any], partition: str, file: BinaryIO) -> int:
    # Any: pyarrow has no types, and is only installed with the extra `archive`.
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    with connection.cursor(row_factory=dict_row) as cursor:
        columns = cursor.execute(_SQL["columns"], {"leaf": partition}).fetchall()
    schema = arrow.schema([(c["name"], _arrow_type(arrow, c["kind"])) for c in columns])
    rows = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(connection, partition, columns):
            rows += len(batch)
            values = [list(column) for column in zip(*batch, strict=True)]
            writer.write_table(arrow.table(values, schema=schema))
    return rows


def _batches(
    connection: psycopg.Connection[Any], partition: str, columns: list[dict[str, Any]]
) -> Iterator[list[tuple[Any, ...]]]:
    parts = [
        sql.Identifier(column["name"])
        if column["kind"] in _ARROW or column["kind"].startswith("timestamp")
        else sql.SQL("{}::text").format(sql.Identifier(column["name"]))
        for column in columns
    ]
    query = sql.SQL(_SQL["read_month"]).format(
        columns=sql.SQL(", ").join(parts), leaf=sql.Identifier(partition)
    )
    with connection.cursor("tokenledger_archive", row_factory=tuple_row) as cursor:
        cursor.execute(query)
        while batch := cursor.fetchmany(_ROWS):
            yield batch


def _arrow_type(arrow: Any, kind: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    if kind.startswith("timestamp"):
        return arrow.timestamp("us", tz="UTC")
    return getattr(arrow, _ARROW.get(kind, "string"))()
