"""Import of labels from the original implementation's SQL dumps: only the INSERTs into ``training_labels``.

A dump is a program, so it is not run as it is. Its INSERT statements are run one by one in an in-memory SQLite database
with a single table and an authorizer that allows nothing but filling it; every other statement is ignored.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from bizcharts_pipeline.labels.labellers import UNNAMED_LABELER
from bizcharts_pipeline.labels.transfer_rows import LabelFileError, RawRow, named

_TABLE = "training_labels"
# Column order of the original, for dumps that have only INSERTs.
_ORIGINAL_COLUMNS = (
    "id", "thread_id", "sentiment_rating", "skipped", "notes", "labeler_id", "labeled_at", "text_snapshot",
    "image_url_snapshot",
)  # fmt: skip
_PADDING = r"(?:\s|--[^\n]*+(?:\n|\Z)|/\*[\s\S]*?\*/)*+"
_OUR_TABLE = rf"""(?:main\s*\.\s*)?["'`\[]?{_TABLE}["'`\]]?"""
_CREATE = re.compile(rf"{_PADDING}CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_OUR_TABLE}\s*\(", re.IGNORECASE)
_INSERT = re.compile(
    rf"{_PADDING}INSERT\s+(?:OR\s+\w+\s+)?INTO\s+{_OUR_TABLE}\s*(?:\(([^()]*+)\)\s*)?VALUES\b", re.IGNORECASE
)
_REMOVAL = re.compile(
    rf"{_PADDING}(?:DELETE\s+FROM|DROP\s+TABLE(?:\s+IF\s+EXISTS)?)\s+{_OUR_TABLE}(?:\s|;|\Z)", re.IGNORECASE
)
# Statements of a dump that are ignored. Any other is reported.
_IGNORED = re.compile(
    rf"{_PADDING}(?:\Z|;|(?:PRAGMA|BEGIN|COMMIT|END|SAVEPOINT|RELEASE|ANALYZE|CREATE|DROP|DELETE|COMMENT|SET)\b|"
    rf"INSERT\s+(?:OR\s+\w+\s+)?INTO\s++(?!{_OUR_TABLE}\s*[(\s]))",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"'[^']*+(?:''[^']*+)*+'|\"[^\"]*+\"|--[^\n]*+|/\*[\s\S]*?\*/|;")
_EXPONENT = re.compile(r"\d+(?:\.\d*)?[eE][+-]?\d+")
_ESCAPE = re.compile(r"\\(?:\\|\+[0-9a-fA-F]{6}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-9a-fA-F]{4})")
_FUNCTIONS = {"replace", "char", "unistr"}  # used by SQLite's shell for line ends and control characters
_MAX_BYTES = 1_000_000  # of a row
_MAX_COLUMNS = 50
_MAX_PAGES = 125_000  # of 4 kB
_MAX_STEPS = 10_000_000  # of SQLite's virtual machine per statement


def read_dump(text: str) -> Iterator[RawRow]:
    """Yield the rows of labels that the SQL dump inserts, each with the line where its statement begins.

    Raises:
        LabelFileError: it has no such table, or its CREATE TABLE cannot be parsed.
    """
    columns: tuple[str, ...] = _ORIGINAL_COLUMNS
    inserted: list[tuple[int, str]] = []  # line and text of each row's statement
    has_table = has_problem = False
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        _guard(database, columns)
        for line, statement in _statements(text):
            problem = ""
            if _CREATE.match(statement):
                has_table = True
                if inserted:
                    raise LabelFileError(f"Line {line}: the table {_TABLE} is created a second time.")
                columns = _columns(statement, line)
                _guard(database, columns)
            elif insert := _INSERT.match(statement):
                has_table = True
                problem, rows = _insert(database, statement, insert[1] or "")
                inserted += [(line, statement)] * rows
            elif inserted and _REMOVAL.match(statement):
                problem = "a dump is not run, so the labels that this statement removes were not removed"
            elif not _IGNORED.match(statement):
                problem = f"not a statement of a dump of {_TABLE}"
            if problem:
                has_problem = True
                yield RawRow(line, statement, None, problem)
        if not has_table and not has_problem:
            raise LabelFileError(f"It has no rows for the table {_TABLE}.")
        database.set_authorizer(None)
        database.set_progress_handler(None, 0)
        database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        rows_in_order = database.execute(f"SELECT * FROM {_TABLE} ORDER BY rowid")
        for (line, statement), values in zip(inserted, rows_in_order, strict=True):
            row = named(dict(zip(columns, values, strict=True)))
            row["thread_id"] = _as_written(row.get("thread_id"), statement)
            yield RawRow(line, statement, row | {"labeler_id": row.get("labeler_id") or UNNAMED_LABELER})


def _as_written(value: object, statement: str) -> object:
    """Return a number written with an exponent as in the statement, because it has been rounded."""
    if not isinstance(value, float):
        return value
    numbers = _EXPONENT.findall(_TOKEN.sub(" ", statement))
    return next((number for number in numbers if float(number) == value), value)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    start, line = 0, 1
    for token in _TOKEN.finditer(text):
        if token[0] == ";":
            statement = text[start : token.end()]
            yield line + _lines_before(statement), statement.strip()
            line += statement.count("\n")
            start = token.end()
    if rest := text[start:].strip():
        yield line + _lines_before(text[start:]), rest


def _lines_before(statement: str) -> int:
    return statement.count("\n", 0, len(statement) - len(statement.lstrip()))


def _columns(statement: str, line: int) -> tuple[str, ...]:
    """Return the column names of a CREATE TABLE.

    Its types, defaults and constraints are ignored: a default for ``labeled_at``, for example, would be the current
    time.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        _limit(scratch)
        scratch.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _CREATING else sqlite3.SQLITE_DENY)
        try:
            scratch.execute(statement)
            scratch.set_authorizer(None)
            names = tuple(row[1].lower() for row in scratch.execute(f"PRAGMA table_info({_TABLE})"))
        except _FAILURES as error:
            raise LabelFileError(f"Line {line}: the table {_TABLE} cannot be parsed: {error}") from None
    return names


def _unistr(text: str) -> str:
    r"""SQLite's function of that name, which is new in 3.50: ``\XXXX``, ``\+XXXXXX``, ``\uXXXX``, ``\UXXXXXXXX``."""
    return _ESCAPE.sub(lambda found: "\\" if found[0] == "\\\\" else chr(int(found[0].lstrip("\\+uU"), 16)), text)


def _guard(database: sqlite3.Connection, columns: tuple[str, ...]) -> None:
    """Create the table with ``columns`` and then allow nothing but filling it."""
    database.set_authorizer(None)
    database.execute(f"DROP TABLE IF EXISTS {_TABLE}")
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    database.execute(f"CREATE TABLE {_TABLE} ({names})")
    database.create_function("unistr", 1, _unistr, deterministic=True)
    _limit(database)
    database.set_authorizer(_only_filling)


def _limit(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_BYTES)
    database.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, _MAX_COLUMNS)
    database.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100)
    database.execute(f"PRAGMA max_page_count = {_MAX_PAGES}")
    database.set_progress_handler(lambda: 1, _MAX_STEPS)


_CREATING = {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_READ,
}  # fmt: skip
_FAILURES = (sqlite3.Error, sqlite3.Warning, ValueError)


def _only_filling(action: int, first: str | None, second: str | None, *_: object) -> int:
    allowed = (
        (action == sqlite3.SQLITE_INSERT and first == _TABLE)
        or (action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS)
        or action == sqlite3.SQLITE_SELECT  # rows of one VALUES; with nothing to READ it selects from nothing
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _insert(database: sqlite3.Connection, statement: str, columns: str) -> tuple[str, int]:
    """Return why the statement was refused, if it was, and the number of inserted rows."""
    names = [name.strip().strip("\"'`[]").lower() for name in columns.split(",")]
    for place, name in enumerate(names):
        if name in names[:place]:  # SQLite would take the first value silently
            return f"the column {name} occurs twice", 0
    before = database.total_changes
    try:
        database.execute(statement)
    except _FAILURES as error:
        return f"not imported: {error}", 0
    return "", database.total_changes - before
