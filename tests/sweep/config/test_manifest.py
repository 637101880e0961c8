"""Manifests as spreadsheets, pandas and people write them."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.config.csv_file import parse_number
from sweep.config.manifest import ManifestRow, read_manifest

ROWS: list[ManifestRow] = [("a.png", "e.safetensors", 0.001, None, None), ("b,ü.png", None, 0.02, None, None)]


def read(folder: Path, content: str | bytes | pa.Table, encoding: str = "utf-8") -> list[ManifestRow]:
    path = folder / ("list.parquet" if isinstance(content, pa.Table) else "list.csv")
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return list(read_manifest(str(path)).values())


def error_of(folder: Path, content: str | bytes | pa.Table) -> str:
    with pytest.raises(ValueError, match="the manifest ") as raised:
        read(folder, content)
    message = str(raised.value)
    assert "\n" not in message
    return message.partition(".csv" if not isinstance(content, pa.Table) else ".parquet")[2]


# --- CSV


@pytest.mark.parametrize(
    "text",
    [
        'frame,encoder,lmbda\na.png,e.safetensors,0.001\n"b,ü.png",,0.02\n',
        "frame;encoder;lmbda\na.png;e.safetensors;0,001\nb,ü.png;;0,02\n",
        "frame;encoder;lmbda\r\na.png;e.safetensors;1,0E-03\r\nb,ü.png;;0.02\r\n",
        "frame\tencoder\tlmbda\na.png\te.safetensors\t0,001\nb,ü.png\t\t.02\n",
        "frame|encoder|lmbda\na.png|e.safetensors|1e-3\nb,ü.png||2e-2\n",
        'frame,encoder,lmbda\ra.png,e.safetensors,"0,001"\r"b,ü.png",,"0,02"',
        '"Frame";" Encoder ";"LMBDA"\n"a.png";"e.safetensors";"0,001"\n"b,ü.png";"";"0,02"\n',
        'frame, encoder, lmbda\na.png, e.safetensors , 0.001\n "b,ü.png", , 0.02\n',
        "frame;encoder;lmbda;;\na.png;e.safetensors;0,001;;\n;;;;\n\nb,ü.png;;0,02;;\n;;;;\n;;;;\n",
        "sep=;\r\nframe;encoder;lmbda\r\na.png;e.safetensors;0,001\r\nb,ü.png;;0,02\r\n",
        "\n\nlmbda;frame;encoder\n0,001;a.png;e.safetensors\n0,02;b,ü.png;\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, text: str, encoding: str) -> None:
    assert read(tmp_path, text, encoding) == ROWS


def test_a_byte_order_mark_may_be_of_either_order(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xfe\xff" + "frame\na.png\n".encode("utf-16-be")) == [("a.png", None, None, None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,frame\na.png,b.png\n", ": a column stands once; found frame, frame, with frame more than once"),
        ("frame;Frame\na.png;b.png\n", ": a column stands once; found frame, Frame, with frame more than once"),
        (
            "frame;size\na.png;1\n",
            ": its columns are frame, encoder, lmbda, frame_index, encoder_frame; found 'size'",
        ),
        (
            "frame,,lmbda\na.png,,1\n",
            ": its columns are frame, encoder, lmbda, frame_index, encoder_frame; found ''",
        ),
        ("frame;lmbda\na.png;1\nb.png\n", ", row 2: a row has as many cells as the header, 2; found 1"),
        ("frame;lmbda\na.png;1;x\n", ", row 1: a row has as many cells as the header, 2; found 3"),
        ("frame\na,b.png\n", ", row 1: a row has as many cells as the header, 1; found 2"),
        ("frame;lmbda\n\n;;\na.png;high\n", ", row 3: lmbda is a number, 0 or more; found 'high'"),
        ('frame,lmbda\na.png,"1,000"\n', ", row 1: lmbda is a number, 0 or more; found '1,000'"),
        ("frame;lmbda\na.png;1.000,5\n", ", row 1: lmbda is a number, 0 or more; found '1.000,5'"),
        ("frame;lmbda\na.png;1_0\n", ", row 1: lmbda is a number, 0 or more; found '1_0'"),
        ('frame\n"a.png\nb.png\n', ": line 3: unexpected end of data"),
        ("frame;lmbda\n;\n", " has no rows"),
        (";;\n", ": its columns are frame, encoder, lmbda, frame_index, encoder_frame; found ';;'"),
        ("\n \n", ": the file is empty"),
        ("sep=;\n", ": the file is empty"),
        (b"frame\nb\xfcro.png\n", ": line 2: byte 0xFC is no text in UTF-8; save the file as CSV in UTF-8"),
        (b"PK\x03\x04\x00\x00", ": it is no CSV file: there are NUL characters in it"),
        (b"\xff\xfef\x00r\x00", ": its columns are frame, encoder, lmbda, frame_index, encoder_frame; found 'fr'"),
        (b"\xff\xfef\x00r\x00a", ": line 1: byte 0x61 is no text in UTF-16; save the file as CSV in UTF-8"),
    ],
)
def test_csv_that_cannot_be_read_one_way_only_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert error_of(tmp_path, text) == message


def test_a_decimal_comma_is_one_where_it_cannot_be_a_thousand() -> None:
    assert parse_number("1,000", ";") == 1
    assert [parse_number(text) for text in ("0,001", "12,5", "1,0000", "-,5", "1,5e-3")] == [
        0.001,
        12.5,
        1,
        -0.5,
        0.0015,
    ]
    with pytest.raises(ValueError, match="found '1,234'"):
        parse_number("1,234", "\t")


# --- Parquet


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([0.001, 0.02], pa.float32()), [0.001, 0.02]),
        (pa.array([0.1, 2], pa.float16()), [0.1, 2.0]),
        (pa.array([0.1, None], pa.float32()), [0.1, None]),
        (pa.array([1e-45, 3.4028235e38], pa.float32()), [1e-45, 3.4028235e38]),
        (pa.array([0.1, 1 / 3], pa.float64()), [0.1, 1 / 3]),
        (pa.array([Decimal("0.001"), Decimal("2.5")], pa.decimal128(10, 4)), [0.001, 2.5]),
        (pa.array([1, 2], pa.uint8()), [1.0, 2.0]),
        (pa.array(["0.001", " 1e-2 "]), [0.001, 0.01]),
        (pa.array(["", None]), [None, None]),
        (pa.array([0.1, 0.2], pa.float32()).dictionary_encode(), [0.1, 0.2]),
        (pa.nulls(2), [None, None]),
    ],
    ids=str,
)
def test_an_lmbda_is_the_number_that_was_written(tmp_path: Path, column: pa.Array, expected: list[float]) -> None:
    table = pa.table({"frame": ["a", "b"], "lmbda": column})
    assert [row[2] for row in read(tmp_path, table)] == expected


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([True, False]), ": the column lmbda holds numbers; found bool"),
        (pa.array([date(2026, 1, 1), None]), ": the column lmbda holds numbers; found date32[day]"),
        (pa.array([[1.0], [2.0]]), ": the column lmbda holds numbers; found list<"),
        (pa.array(["1", "much"]), ", row 2: lmbda is a number, 0 or more; found 'much'"),
        (pa.array([0.1, np.nan]), ", row 2: lmbda is a number, 0 or more; found nan"),
        (pa.array([0.1, np.inf], pa.float32()), ", row 2: lmbda is a number, 0 or more; found inf"),
    ],
    ids=str,
)
def test_an_lmbda_that_is_none_is_refused(tmp_path: Path, column: pa.Array, message: str) -> None:
    assert error_of(tmp_path, pa.table({"frame": ["a", "b"], "lmbda": column})).startswith(message)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_text_may_be_stored_in_any_way_and_empty_text_is_no_encoder(tmp_path: Path, kind: pa.DataType) -> None:
    encoders = pa.array(["e", "", " ", None]).cast(kind)
    table = pa.table({"frame": pa.array(["a", "b", "c", "d"]).cast(kind), "encoder": encoders})
    assert read(tmp_path, table) == [
        ("a", "e", None, None, None),
        ("b", None, None, None, None),
        ("c", None, None, None, None),
        ("d", None, None, None, None),
    ]


def test_a_column_of_another_kind_or_of_a_name_that_is_there_is_refused(tmp_path: Path) -> None:
    assert error_of(tmp_path, pa.table({"frame": [1, 2]})) == ": the column frame holds text; found int64"
    twice = pa.table([["a"], ["b"]], ["frame", "Frame"])
    assert "a column stands once" in error_of(tmp_path, twice)
    assert "a column stands once" in error_of(tmp_path, pa.table([["a"], ["b"]], ["frame", "frame"]))
    assert error_of(tmp_path, pa.table({"frame": ["a", " "]})) == ", row 2: there is no frame"


def test_the_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    table = pd.DataFrame({"frame": ["a", "b", "c"], "lmbda": [1.0, 2.0, np.nan]})
    for name, part in (("selection", table[table.frame != "a"]), ("indexed", table[1:].set_index("frame"))):
        path = tmp_path / f"{name}.parquet"
        part.to_parquet(path)
        assert list(read_manifest(str(path)).values()) == [
            ("b", None, 2.0, None, None),
            ("c", None, None, None, None),
        ]
