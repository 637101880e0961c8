"""The rate–distortion table: its columns, its rows, and how users read it."""

import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sweep import iter_rd_table, read_rd_table
from sweep.results import CHOICES, Results, Storage, rd_table, read_as, read_status, read_table, to_pandas
from sweep.results.rows import prepare_rd_folder, read_record, write_rd_table
from sweep.results.table import RD_TABLE, frame_record
from sweep.schedule import SweptRow
from tests.cases import ARM
from tests.sweep.ended import GRID, INFO, N_PAIRS, done, failed_after_arm, make_job, swept
from workers.candidates import Candidate, Measurement, QStepPair
from workers.errors import ResultsError

CONTRACT = [
    "frame",
    "lmbda",
    "coolchic",
    "module",
    "q_step_weight",
    "q_step_bias",
    "status",
    "expgol_cnt_weight",
    "expgol_cnt_bias",
    "rate_weight_bit",
    "rate_bias_bit",
    "rate_nn_bit",
    "rate_latent_bit",
    "mse",
    "psnr_db",
    "loss",
    "chosen",
]
MEASURED = [*CONTRACT[7:16], "distortion"]


def write(out: Path, *frames: str) -> str:
    prepare_rd_folder(Storage(str(out)))
    for frame in frames:
        ended = done(frame)
        write_rd_table(Storage(str(out)), ended, frame_record(ended, f"/data/{frame}.png", None))
    return str(out)


def test_the_columns_are_those_of_the_contract_first(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "a"))
    assert list(table.columns[: len(CONTRACT)]) == CONTRACT
    for column in ("frame", "module", "status", "replica"):
        assert isinstance(table[column].dtype, pd.CategoricalDtype)
    for column in MEASURED[:5]:
        assert isinstance(table[column].dtype, pd.Int8Dtype | pd.Int64Dtype)
    assert table.chosen.dtype == bool
    assert table.loss.dtype == float


def test_there_is_one_row_per_frame_module_and_pair_in_grid_order(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "b", "a"))
    keys = [(module, *pair) for module, pairs in GRID.items() for pair in pairs]
    assert len(table) == 2 * N_PAIRS
    for frame in ("a", "b"):
        rows = table[table.frame == frame]
        assert list(zip(rows.module, rows.q_step_weight, rows.q_step_bias, strict=True)) == keys


def test_what_was_measured_is_null_unless_the_status_is_ok(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "a"))
    assert table.status.tolist() == ["overflow", "non_finite"] + ["ok"] * 5
    for column in MEASURED:
        assert table[column].isna().tolist() == [True, True] + [False] * 5, column
    assert table.loss_lower_bound.isna().all()
    assert not table.drop(columns=[*MEASURED, "loss_lower_bound"]).isna().any(axis=None)


def test_of_a_pruned_pair_the_bound_is_there_and_nothing_else_that_was_measured() -> None:
    pruned = SweptRow(Measurement(Candidate(ARM, QStepPair(4.0, 1.0)), "pruned", loss_lower_bound=0.75), "r0")
    frame = failed_after_arm("a")
    table = to_pandas(rd_table(frame._replace(rows=(*frame.rows, pruned))))
    row = table.iloc[-1]
    assert (row.status, row.loss_lower_bound, row.chosen) == ("pruned", 0.75, False)
    assert row[MEASURED].isna().all()


def test_one_pair_is_chosen_per_module_whose_loss_is_the_smallest(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "a"))
    chosen = table[table.chosen].set_index("module").loss
    assert chosen.to_dict() == table.groupby("module", observed=True).loss.min().to_dict()


def test_of_a_module_that_was_not_settled_no_pair_is_chosen() -> None:
    table = to_pandas(rd_table(failed_after_arm("a")))
    assert (len(table), table.chosen.sum()) == (4, 1)


def test_the_numbers_of_rows_and_frames_agree(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "a"))
    ok = table[table.status == "ok"]
    np.testing.assert_allclose(ok.psnr_db, -10 * np.log10(ok.mse))
    pixels = INFO.width * INFO.height
    np.testing.assert_allclose(ok.loss, ok.mse + ok.lmbda * (ok.rate_latent_bit + ok.rate_nn_bit) / pixels)

    record = read_record(Storage(str(tmp_path)), "a")
    assert record is not None
    final = table[(table.module == "upsampling") & table.chosen].iloc[0]
    assert {name: record[name] for name in ("loss", "mse", "psnr_db", "lmbda")} == {
        name: final[name] for name in ("loss", "mse", "psnr_db", "lmbda")
    }
    assert record["rate_latent_bpp"] * pixels == pytest.approx(final.rate_latent_bit)
    assert record["rate_nn_bpp"] * pixels == pytest.approx(final.rate_nn_bit)
    assert (record["width"], record["height"]) == (INFO.width, INFO.height)


def as_of_0_1_0(out: Path, names: Iterable[str]) -> None:
    """Make tables what version 0.1.0 would have written: without a column for the cool-chic."""
    for name in names:
        table = pq.read_table(out / name, partitioning=None)
        pq.write_table(table.drop_columns(["coolchic"]), out / name)


def test_tables_of_0_1_0_are_read_with_their_one_coolchic(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    for frame in ("a", "b"):
        results.write_frame(done(frame))
    results.write_summary()
    out = Path(job.config.out)
    expected = read_rd_table(out)
    files = [*(f"rd_table/frame={frame}/part-0.parquet" for frame in "ab"), "choices.parquet"]

    as_of_0_1_0(out, files)

    pd.testing.assert_frame_equal(read_rd_table(out), expected)
    assert set(read_rd_table(out, modules=["arm"], columns=["coolchic"]).coolchic) == {"residue"}
    assert read_as(results.storage, "choices.parquet", CHOICES)["coolchic"].unique().to_pylist() == ["residue"]
    for missing in (False, True):  # the tables over all frames, or the rows alone
        if missing:
            (out / "choices.parquet").unlink()
        again = Results(job)
        assert again.n_unfinished == 0
        again.write_summary()
        choices = read_table(again.storage, "choices.parquet")
        assert choices["coolchic"].to_pylist() == ["residue"] * 6
        assert choices.schema.names == CHOICES.names


def test_rows_of_a_sweep_that_0_1_0_did_not_finish_are_taken_up(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"], bitstream=True)
    results = Results(job)
    results.write_swept(swept("a"))
    as_of_0_1_0(Path(job.config.out), ["rd_table/frame=a/swept-0.parquet"])
    assert Results(job).read_swept("a") == swept("a")


def test_frames_modules_and_columns_are_read_as_asked_for(tmp_path: Path) -> None:
    out = write(tmp_path, "a", "b", "c")
    table = read_rd_table(out, frames=["c", "a"], modules=["arm", "upsampling"], columns=["loss", "frame"])
    assert list(table.columns) == ["loss", "frame"]
    assert table.frame.value_counts().to_dict() == {"a": 5, "c": 5}
    assert read_rd_table(out, frames=[]).empty
    assert read_rd_table(out, modules=[]).empty
    assert list(read_rd_table(out, frames=[]).columns) == list(read_rd_table(out).columns)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 100])
def test_the_parts_of_a_table_make_up_the_whole(tmp_path: Path, n_frames: int) -> None:
    out = write(tmp_path, "a", "b", "c")
    parts = list(iter_rd_table(out, n_frames=n_frames))
    assert len(parts) == -(-3 // n_frames)
    assert max(part.frame.nunique() for part in parts) <= n_frames
    whole = read_rd_table(out).astype({"frame": str})
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True).astype({"frame": str}), whole)
    (arm,) = iter_rd_table(out, frames=["b"], modules=["arm"], columns=["module", "loss"])
    assert (list(arm.columns), len(arm)) == (["module", "loss"], 4)


def test_what_is_wrong_with_what_is_asked_for_in_parts_is_told_at_once(tmp_path: Path) -> None:
    out = write(tmp_path, "a")
    with pytest.raises(ValueError, match=r"^n_frames: accepted: 1 or more; found 0$"):
        iter_rd_table(out, n_frames=0)
    with pytest.raises(ValueError, match=r"^modules: accepted"):
        iter_rd_table(out, modules=["ram"])
    with pytest.raises(ResultsError, match="no rows of frame b"):
        iter_rd_table(out, frames=["b"])
    assert [len(part) for part in iter_rd_table(out, frames=[])] == [0]


def test_a_folder_may_be_given_as_text_path_or_uri(tmp_path: Path) -> None:
    write(tmp_path, "a")
    for out in (str(tmp_path), tmp_path, f"file://{tmp_path}"):
        assert len(read_rd_table(out)) == N_PAIRS


def test_frames_that_have_no_rows_are_named(tmp_path: Path) -> None:
    out = write(tmp_path, "a")
    with pytest.raises(ResultsError, match=r"no rows of frame b, c$"):
        read_rd_table(out, frames=["b", "a", "c"])


def test_modules_and_columns_that_do_not_exist_are_named(tmp_path: Path) -> None:
    out = write(tmp_path, "a")
    with pytest.raises(ValueError, match=r"^modules: accepted: arm, synthesis, upsampling, ifce; found ram$"):
        read_rd_table(out, modules=["arm", "ram"])
    with pytest.raises(ValueError, match=r"^columns: accepted: frame, lmbda, .*; found bpp$"):
        read_rd_table(out, columns=["bpp"])


FORMS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "generator": iter,
    "array": np.array,
    "array of objects": lambda names: np.array(names, dtype=object),
    "index": pd.Index,
    "series": lambda names: pd.Series(names, index=range(7, 7 + len(names)), dtype=str),
    "categorical": pd.Categorical,
    "arrow": lambda names: pa.array(names, pa.string()),
    "polars": lambda names: pl.Series(names, dtype=pl.String),
    "dictionary": dict.fromkeys,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_names_may_come_in_any_form(tmp_path: Path, form: Callable[[list[str]], Any]) -> None:
    out = write(tmp_path, "a", "b", "c")
    asked = {"frames": ["c", "a"], "modules": ["arm", "upsampling"], "columns": ["frame", "module", "loss"]}
    expected = read_rd_table(
        out, frames=sorted(asked["frames"]), modules=asked["modules"], columns=asked["columns"]
    )
    table = read_rd_table(out, **{name: form(names) for name, names in asked.items()})
    keys = ["frame", "module", "loss"]
    assert list(table.columns) == keys
    as_text = {"frame": str, "module": str}
    pd.testing.assert_frame_equal(
        table.astype(as_text).sort_values(keys, ignore_index=True),
        expected.astype(as_text).sort_values(keys, ignore_index=True),
    )
    (part,) = iter_rd_table(out, **{name: form(names) for name, names in asked.items()})
    assert len(part) == len(expected)
    assert read_rd_table(out, frames=form([])).empty
    assert read_rd_table(out, modules=form([])).empty
    assert list(read_rd_table(out, columns=form([])).columns) == []


def test_columns_that_are_in_no_order_come_in_that_of_the_table(tmp_path: Path) -> None:
    table = read_rd_table(write(tmp_path, "a"), columns={"loss", "frame", "chosen", "module"})
    assert list(table.columns) == ["frame", "module", "loss", "chosen"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ab", "a list is accepted; found the text 'ab'"),
        (3, "a list is accepted; found 3"),
        (np.array("a"), r"a list is accepted; found array\('a'"),
        ([1], "a list of text is accepted; found 1 in it"),
        (pd.Series([1, 2]), "a list of text is accepted; found 1 in it"),
        (["a", None], "a list of text is accepted; found None in it"),
        ([b"a"], "a list of text is accepted; found b'a' in it"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("argument", ["frames", "modules", "columns"])
def test_what_is_no_list_of_names_is_refused(tmp_path: Path, argument: str, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: {message}"):
        read_rd_table(tmp_path, **{argument: given})


def test_rows_whose_frame_ends_while_they_are_read_are_read_from_where_they_are_then(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    results = Results(job)
    results.write_swept(swept("a"))
    results.write_frame(done("b"))
    parts = iter_rd_table(job.config.out, n_frames=1)
    results.write_frame(done("a"))
    assert [len(part) for part in parts] == [N_PAIRS] * 2


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ResultsError, match=f"^{out}/rd_table: there are no rows; is this the folder of a job"):
            read_rd_table(out)
        with pytest.raises(ResultsError, match=f"^{out}/frames.parquet: there is no such file; is this the folder"):
            read_table(Storage(str(out)), "frames.parquet")


@pytest.mark.parametrize("damage", ["empty", "cut"])
def test_frames_whose_rows_are_cut_off_are_left_out_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = write(tmp_path, "a", "b")
    path = tmp_path / "rd_table" / "frame=a" / "part-0.parquet"
    path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-100])
    assert set(read_rd_table(out).frame) == {"b"}
    assert f"{path}: " in caplog.text
    with pytest.raises(ResultsError, match=f"^{out}/rd_table: damaged"):
        read_rd_table(out, frames=["a"])


def test_rows_that_are_garbled_are_refused(tmp_path: Path) -> None:
    out = write(tmp_path, "a", "b")
    path = tmp_path / "rd_table" / "frame=a" / "part-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(400) + content[500:])
    with pytest.raises(ResultsError, match=f"^{out}/rd_table: damaged, or not of this program"):
        read_rd_table(out)
    assert len(read_rd_table(out, frames=["b"])) == N_PAIRS


@pytest.mark.parametrize(
    "name", ["plain", "001", "1e3", "with space", "ünï", "100%", "%41", "a=b", "-dash", "true"]
)
def test_an_id_of_any_kind_comes_back_as_text(tmp_path: Path, name: str) -> None:
    out = write(tmp_path, name, "other")
    for table in (read_rd_table(out), read_rd_table(out, frames=[name, "other"])):
        assert set(table.frame) == {name, "other"}
    assert read_record(Storage(out), name) == frame_record(done(name), f"/data/{name}.png", None)


READERS: dict[str, Callable[[Path], Iterable[object]]] = {
    "pandas": lambda folder: pd.read_parquet(folder).frame,
    "pyarrow": lambda folder: pq.read_table(folder)["frame"].to_pylist(),
    "hive": lambda folder: ds.dataset(folder, partitioning="hive").to_table()["frame"].to_pylist(),
    "hive, dictionaries": lambda folder: (
        ds.dataset(folder, partitioning=ds.HivePartitioning.discover(infer_dictionary=True))
        .to_table()["frame"]
        .to_pylist()
    ),
    "files": lambda folder: (
        ds.dataset([*map(str, folder.glob("*/part-0.parquet"))]).to_table()["frame"].to_pylist()
    ),
    "duckdb": lambda folder: duckdb.sql(f"select frame from '{folder}/*/*.parquet'").pl()["frame"],
    "duckdb, all files": lambda folder: duckdb.sql(f"select frame from '{folder}/**/*.parquet'").pl()["frame"],
    "polars": lambda folder: pl.read_parquet(folder)["frame"],
    "polars, lazy": lambda folder: pl.scan_parquet(folder).collect()["frame"],
    "polars, hive": lambda folder: pl.scan_parquet(folder / "**/*.parquet", hive_partitioning=True).collect()[
        "frame"
    ],
    "polars, files": lambda folder: pl.scan_parquet(folder / "*" / "part-0.parquet").collect()["frame"],
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "names",
    [
        ["01", "002"],
        ["7"],
        ["-3"],
        [" 7", "8 "],
        ["1e5", "2.5"],
        ["20240101"],
        ["2024-01-01", "2024-01-02"],
        ["2024-01-01 10:00:00"],
        ["inf", "-Infinity"],
        ["epoch"],
        ["None", "null", "nan", "NULL", "NA"],
        ["true", "false"],
        ["0x10", "1_000", "10:30"],
        ["ünï", "日本", "a b", " a "],
        ["100%", "%41", "a%2Fb", "a=b", "=x"],
        [".dot", "_x", "~a", "$b", "a[1]", "b{2}", "a*b", "c?d", "a#b", "it's", 'q"q', "a,b;c", "a\\b"],
    ],
    ids=str,
)
def test_ids_of_any_kind_are_text_to_other_readers(
    tmp_path: Path, names: list[str], reader: Callable[[Path], Iterable[object]]
) -> None:
    write(tmp_path, *names)
    found = [*reader(tmp_path / "rd_table")]
    assert sorted(found) == sorted(names * N_PAIRS)  # type: ignore[type-var]


def test_ids_that_look_like_numbers_add_no_frame_and_no_row(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["01", "02"], bitstream=True)
    results = Results(job)
    with results.claimed():
        results.write_swept(swept("01"))
        results.write_frame(done("02"))
    assert (tmp_path / "out" / "rd_table" / "frame=%2Fids-are-text").is_dir()
    assert "1 of 2 frames done, 0 failed; 1 swept" in read_status(job.config.out)
    assert [set(part.frame) for part in iter_rd_table(job.config.out, n_frames=1)] == [{"01"}, {"02"}]
    assert list(read_rd_table(job.config.out).frame.cat.categories) == ["01", "02"]


@pytest.mark.parametrize("names", [["01", "002"], ["kodim01", "$b"]], ids=str)
def test_pandas_sees_the_ids_of_the_frames_and_no_other(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, *names)
    table = pd.read_parquet(tmp_path / "rd_table")
    assert {*table.groupby("frame", observed=False).size().index} == {*names}
    assert {*pd.read_parquet(tmp_path / "rd_table", filters=[("frame", "==", names[0])]).frame} == {names[0]}


def test_arrow_reads_the_rows_without_the_names_of_the_folders_too(tmp_path: Path) -> None:
    write(tmp_path, "01", "a")
    table = ds.dataset(tmp_path / "rd_table").to_table()
    assert (table.num_rows, table.column_names) == (2 * N_PAIRS, RD_TABLE.names[1:])


def test_folders_of_version_0_1_0_are_read(tmp_path: Path) -> None:
    out = write(tmp_path, "01", "02")
    shutil.rmtree(tmp_path / "rd_table" / "frame=%2Fids-are-text")
    assert set(read_rd_table(out).frame) == {"01", "02"}
    prepare_rd_folder(Storage(out))  # as when the job is resumed
    assert {*pd.read_parquet(tmp_path / "rd_table").frame} == {"01", "02"}


def test_ids_that_look_alike_keep_their_rows_apart(tmp_path: Path) -> None:
    out = write(tmp_path, "a=b", "a%3Db")
    assert read_rd_table(out, frames=["a=b"]).frame.tolist() == ["a=b"] * N_PAIRS
    assert len(read_rd_table(out)) == 2 * N_PAIRS


def test_pandas_reads_the_folder_and_each_file_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "astronaut", "with space")
    table = pd.read_parquet(tmp_path / "rd_table")
    assert table.groupby("frame").size().to_dict() == {"astronaut": N_PAIRS, "with space": N_PAIRS}
    one = pd.read_parquet(tmp_path / "rd_table" / "frame=astronaut" / "part-0.parquet")
    assert set(one.frame) == {"astronaut"}
    assert math.isnan(one.loss[0])
