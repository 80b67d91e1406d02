"""Label files as CSV (RFC 4180, UTF-8).

An empty field is null and ``""`` is an empty text, as in DuckDB and PostgreSQL; Python's own reader does not
distinguish them. Text that a spreadsheet would interpret as a formula is written with a leading apostrophe, and so is
text that begins with one; reading removes one. Files of other programs, which have no column ``origin``, are read
unchanged.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.labellers import visible
from bizcharts_pipeline.labels.transfer_rows import COLUMNS, REQUIRED, LabelFileError, RawRow, Value, column_name

_APOSTROPHE = "'"
_NEEDS_APOSTROPHE = re.compile(r"['=+\-@\t\r\n＝＋－＠]")
_OUR_COLUMN = "origin"
_FIELD = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n][^,\r\n]*+|))(,|\r\n|\n|\r|\Z)')
_LINE_END = re.compile(r"\r\n|\n|\r|\Z")

Fields = list[str | None]


def write_csv(rows: Iterable[Mapping[str, Value]]) -> bytes:
    """Return the ``rows`` of a label file as CSV with the columns ``COLUMNS``."""
    lines = [",".join(COLUMNS), *(",".join(map(_written, row.values())) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def read_csv(text: str) -> Iterator[RawRow]:
    """Yield the rows below the header of a CSV label file; a malformed row affects only its own lines.

    Raises:
        LabelFileError: the header lacks a required column, or has one twice.
    """
    rows = _rows(text)
    header = next((row for row in rows if row[2] is None or any(map(_is_filled, row[2]))), None)
    if header and header[1].lower().startswith("sep="):
        raise LabelFileError("Its first line, `sep=`, is for one spreadsheet only: delete it, and separate by commas.")
    if other := _other_separator(header[1] if header else ""):
        raise LabelFileError(f"Its columns are separated by {other}; save it with commas.")
    names = _names(header[2] or [] if header else [])
    if lacking := [column for column in REQUIRED if column not in names]:
        raise LabelFileError(f"Its first line lacks {', '.join(lacking)}; columns are separated by commas.")
    ours = _OUR_COLUMN in names
    for line, raw, fields in rows:
        if fields is None:
            yield RawRow(line, raw, None, "misplaced quotation mark")
        elif not any(map(_is_filled, fields)):
            continue
        elif header and raw.strip() == header[1].strip():
            yield RawRow(line, raw, None, "repeated header")
        elif len(fields) < len(names) or any(map(_is_filled, fields[len(names) :])):
            yield RawRow(line, raw, None, f"{counted(len(fields), 'value')} for {counted(len(names), 'column')}")
        else:
            values = [_read(field) for field in fields] if ours else fields
            yield RawRow(line, raw, dict(zip(names, values, strict=False)))


def _names(header: Fields) -> list[str]:
    """Return the columns of a header, without empty ones at its end.

    Raises:
        LabelFileError: a column occurs twice.
    """
    while header and not _is_filled(header[-1]):
        header = header[:-1]
    names = [column_name(field or "") or f"column {place}" for place, field in enumerate(header, start=1)]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise LabelFileError(f"Its first line has the column {name} twice; delete one of them.")
    return names


def _is_filled(field: str | None) -> bool:
    return bool(field and visible(field))


def _other_separator(first_line: str) -> str | None:
    """Return the name of the column separator if it is not a comma, as in locales with decimal commas."""
    if "," not in first_line:
        return "semicolons" if ";" in first_line else "tabs" if "\t" in first_line else None
    return None


def _rows(text: str) -> Iterator[tuple[int, str, Fields | None]]:
    """Yield line, text and fields of each row that is not blank; the fields are ``None`` if it is malformed."""
    start, line = 0, 1
    while start < len(text):
        fields: Fields | None = []
        end, closed = start, False
        while not closed:
            field = _FIELD.match(text, end)
            if field is None:
                fields, end, closed = None, _end_of_line(text, start), True
                break
            assert fields is not None
            fields.append(field[2] or None if field[1] is None else field[1].replace('""', '"'))
            end, closed = field.end(), field[3] != ","
        if fields != [None]:
            yield line, text[start:end], fields
        line += text.count("\n", start, end)
        start = end


def _end_of_line(text: str, start: int) -> int:
    match = _LINE_END.search(text, start)
    return match.end() if match else len(text)


def _written(value: Value) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    return '"' + (_APOSTROPHE if _NEEDS_APOSTROPHE.match(value) else "") + value.replace('"', '""') + '"'


def _read(field: str | None) -> str | None:
    if field and field[0] == _APOSTROPHE and _NEEDS_APOSTROPHE.match(field, 1):
        return field[1:]
    return field
