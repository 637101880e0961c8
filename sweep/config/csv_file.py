"""CSV as spreadsheets and people write it: what can be read one way only is read, the rest is refused."""

import codecs
import csv
import io
import re
from collections.abc import Collection
from typing import NamedTuple

_DELIMITERS = (",", ";", "\t", "|")
_ENCODINGS = (  # marks of UTF-32 begin like those of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE = re.compile(r"sep=(.)(\r\n|\r|\n)", re.IGNORECASE)  # Excel's first line

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_COMMA_NUMBER = re.compile(r"[-+]?([0-9]+,[0-9]*|,[0-9]+)([eE][-+]?[0-9]+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+")


class RowError(ValueError):
    """A row that cannot be read.

    Attributes:
        row: its number, from 1 on, the header not counted.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class CsvFile(NamedTuple):
    """What is in a CSV file, without spaces around the cells.

    Attributes:
        header: names of the columns.
        rows: as many cells each as there are names; none where a row is empty.
        delimiter: between cells.
    """

    header: list[str]
    rows: list[list[str]]
    delimiter: str


def parse_csv(content: bytes, known: Collection[str]) -> CsvFile:
    """Read a CSV file.

    It may be in UTF-8, UTF-16 or UTF-32, with any line ends; cells stand between commas, semicolons, tabs or bars,
    in quotes or not. Cells without anything in them may be missing from the header and stand at the end of rows.

    Args:
        content: of the file.
        known: names that columns may have, by which the delimiter is told.

    Raises:
        RowError: a row has more or fewer cells than the header.
        ValueError: it is no such file.
    """
    text = _decode(content).lstrip("\ufeff")
    if "\0" in text:
        raise ValueError("it is no CSV file: there are NUL characters in it")
    separator = _SEPARATOR_LINE.match(text)
    if separator:
        text = text[separator.end() :]
    delimiters = (separator[1],) if separator else _DELIMITERS
    text = text.lstrip(" \r\n")
    if not text.strip():
        raise ValueError("the file is empty")

    def n_known(delimiter: str) -> int:
        cells: list[str] = next(_reader(text, delimiter, strict=False), [])
        return sum(cell.strip().lower() in known for cell in cells)

    delimiter = max(delimiters, key=n_known)
    reader = _reader(text, delimiter, strict=True)
    try:
        rows: list[list[str]] = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    names = _without_empty_end(rows[0])
    cells = [_cells(number, row, names) for number, row in enumerate(rows[1:], start=1)]
    return CsvFile(names, cells, delimiter)


def parse_number(text: str, delimiter: str = "") -> float:
    """A number of a cell, also with a decimal comma.

    Args:
        text: the cell.
        delimiter: of its file: where it is a semicolon, ``1,000`` is one, and not a thousand.

    Raises:
        ValueError: it is none, or ``1,000`` in another file, which may be either.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    if _COMMA_NUMBER.fullmatch(text) and (delimiter == ";" or not _THOUSANDS.fullmatch(text)):
        return float(text.replace(",", "."))
    raise ValueError(f"found {text!r}")


def _decode(content: bytes) -> str:
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), None)
    if encoding is None:  # the first character is one of ASCII, in UTF-16 with a zero beside it
        encoding = {0: "utf-16-be", 1: "utf-16-le"}.get(content[:2].find(0), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"line {line}: byte 0x{content[error.start]:02X} is no text in {encoding.upper()}"
        raise ValueError(f"{found}; save the file as CSV in UTF-8") from None


def _reader(text: str, delimiter: str, strict: bool):  # type: ignore[no-untyped-def]  # its type has no name
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)


def _cells(number: int, row: list[str], names: list[str]) -> list[str]:
    """The cells of a row below their names."""
    if not any(row):
        return []
    cells = row if len(row) <= len(names) else row[: len(names)] + _without_empty_end(row[len(names) :])
    if len(cells) != len(names):
        raise RowError(number, f"a row has as many cells as the header, {len(names)}; found {len(row)}")
    return cells


def _without_empty_end(cells: list[str]) -> list[str]:
    n = len(cells)
    while n and not cells[n - 1]:
        n -= 1
    return cells[:n]
