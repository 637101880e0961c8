"""The report: one file, from disk alone, that says what the tables say."""

import html
import re
from pathlib import Path

import pyarrow as pa
import pytest

from sweep.messages import FrameEnded, MeasuredRow
from sweep.parquet import write_table
from sweep.reading import to_pandas
from sweep.report import DETAILED_FRAMES, LEVELS, heat_maps, power, write_report
from sweep.results import FRAMES_FILE
from sweep.rows import write_rd_table
from sweep.storage import Storage
from sweep.table import FRAMES, frame_record, rd_table
from tests.cases import Case, load_case
from workers.codec import MODULES
from workers.errors import FrameFileError, InfeasibleModuleError, ResultsError
from workers.measure import Measured, RDRow
from workers.quantize import Counts, QStepPair
from workers.source import FrameInfo


def ended(frame: str, case: Case) -> FrameEnded:
    """A finished frame with the rows of a conformance case."""
    rows = []
    for row in case.table.to_dict("records"):
        measured = None
        if row["status"] == "ok":
            counts = Counts(int(row["expgol_cnt_weight"]), int(row["expgol_cnt_bias"]))
            bits = (int(row[f"rate_{name}_bit"]) for name in ("weight", "bias", "nn"))
            measured = Measured(counts, *bits, row["rate_latent_bit"], row["mse"], row["loss"])
        pair = QStepPair(row["q_step_weight"], row["q_step_bias"])
        rows.append(MeasuredRow(RDRow(row["module"], pair, row["status"], measured), "r0"))
    choices = {module: case.settled(module) for module in MODULES}
    info = FrameInfo(64, 96, 0.001, "rgb", 8)
    return FrameEnded(frame, "done", None, info, tuple(rows), choices, b"", 1.5)


def write(out: Path, *frames: FrameEnded) -> str:
    """Results of some frames, and their report; gives the page."""
    storage = Storage(str(out))
    records = [frame_record(frame, f"{frame.frame}.png", None) for frame in frames]
    for frame, record in zip(frames, records, strict=True):
        write_rd_table(storage, frame, record)
    write_table(storage, FRAMES_FILE, pa.Table.from_pylist(records, FRAMES))
    where = write_report(str(out))
    assert where == f"{out}/report.html"
    return Path(where).read_text("utf-8")


def failed(frame: str, error: Exception) -> FrameEnded:
    return FrameEnded(frame, "failed", error, None, (), {}, None, 0.0)


def test_the_page_needs_nothing_but_itself(tmp_path: Path, smallest_case: Case) -> None:
    page = write(tmp_path / "out", ended("astronaut", smallest_case))
    assert not re.search(r"(src|href)\s*=|@import|url\(|https?:", page)
    assert len(page) < 150_000


def test_every_pair_is_a_cell_with_its_exact_loss(tmp_path: Path, smallest_case: Case) -> None:
    page = write(tmp_path / "out", ended("astronaut", smallest_case))
    assert page.count("<g><title>") == 491
    for loss in smallest_case.table.loss.dropna():
        assert f"loss {loss:.8g}," in page
    assert page.count('class="ring halo"') == 3 + 1, "a winner per module, and the legend"


def test_numbers_are_those_of_the_table(tmp_path: Path, smallest_case: Case) -> None:
    page = write(tmp_path / "out", ended("astronaut", smallest_case))
    (final,) = smallest_case.rows("upsampling")[lambda rows: rows.chosen].to_dict("records")
    latents, networks = final["rate_latent_bit"] / 6144, final["rate_nn_bit"] / 6144
    for text in (f"{final['loss']:.6g}", f"{latents:.4f}", f"{networks:.4f}", "96×64"):
        assert f"<td>{text}</td>" in page
    assert f"{100 * networks / (networks + latents):.1f} %" in page


def test_shades_follow_the_excess_over_the_best_of_the_module(smallest_case: Case) -> None:
    maps = heat_maps(to_pandas(rd_table(ended("a", smallest_case))))
    assert [(m.module, len(m.weights), len(m.biases)) for m in maps] == [
        ("arm", 9, 17),
        ("synthesis", 13, 25),
        ("upsampling", 13, 1),
    ]
    for heat_map, module in zip(maps, MODULES, strict=True):
        losses = smallest_case.rows(module).loss.tolist()
        shades = [int(cell.kind[5:]) if cell.kind.startswith("level") else None for cell in heat_map.cells]
        shaded = sorted((loss, shade) for loss, shade in zip(losses, shades, strict=True) if shade is not None)
        assert [shade for _, shade in shaded] == sorted(shade for _, shade in shaded)
        assert shaded[0][1] == 0
        assert shaded[-1][1] == LEVELS - 1
        (chosen,) = (cell for cell in heat_map.cells if cell.mark == "chosen")
        assert heat_map.weights[chosen.y] == power(smallest_case.settled(module).q_step.weight)
        assert heat_map.biases[chosen.x] == power(smallest_case.settled(module).q_step.bias)


def test_a_winner_on_the_edge_of_the_grid_is_warned_of(smallest_case: Case) -> None:
    table = to_pandas(rd_table(ended("a", smallest_case)))
    assert not any(heat_map.warnings for heat_map in heat_maps(table))
    chosen = smallest_case.settled("arm").q_step
    cut = table[(table.module == "arm") & (table.q_step_weight >= chosen.weight)]
    (heat_map,) = heat_maps(cut)
    assert heat_map.warnings == [
        "The weight step that won is the finest of the grid: one beyond it may be better still."
    ]


def test_failures_come_first_with_their_reasons(tmp_path: Path, smallest_case: Case) -> None:
    page = write(tmp_path / "out", ended("good", smallest_case), failed("bad", FrameFileError("the file is empty")))
    assert page.index("the file is empty") < page.index('<td class="text">good</td>')
    assert "1 of 2 frames done" in page


def test_names_and_errors_that_hold_html_are_text(tmp_path: Path, smallest_case: Case) -> None:
    hostile = "<script>alert(1)</script>&\"'"
    page = write(tmp_path / "out", ended("<b>x", smallest_case), failed("<i>y", FrameFileError(hostile)))
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert hostile in html.unescape(page)


def test_a_module_without_a_feasible_pair_is_drawn_with_what_was_measured(tmp_path: Path) -> None:
    rows = tuple(
        MeasuredRow(RDRow("arm", QStepPair(weight, 1.0), status), "r0")
        for weight, status in ((0.5, "overflow"), (1.0, "non_finite"))
    )
    info = FrameInfo(64, 96, 0.001, "rgb", 8)
    frame = FrameEnded("x", "failed", InfeasibleModuleError("none of its pairs"), info, rows, {}, None, 1.0)
    page = write(tmp_path / "out", frame)
    assert "No pair of this module can be used" in page
    assert page.count('class="cell overflow"') == page.count('class="cell non_finite"') == 1


def test_near_ties_and_pairs_without_a_loss_differ_in_shape_not_only_in_colour(tmp_path: Path) -> None:
    measured = Measured(Counts(1, 1), 10, 10, 20, 100.0, 0.01, 0.5)
    near_tie, best = RDRow("arm", QStepPair(0.25, 1.0), "ok", measured, "plain"), measured._replace(loss=0.49999)
    chosen = RDRow("arm", QStepPair(0.5, 1.0), "ok", best, "plain")
    others = [
        RDRow("arm", QStepPair(step, 1.0), status) for step, status in ((1.0, "overflow"), (2.0, "non_finite"))
    ]
    pruned = RDRow("arm", QStepPair(4.0, 1.0), "pruned", loss_lower_bound=0.75)
    rows = tuple(MeasuredRow(row, "r0") for row in (near_tie, chosen, *others, pruned))
    info = FrameInfo(64, 96, 0.001, "rgb", 8)
    failure = InfeasibleModuleError("of the next module")
    frame = FrameEnded("x", "failed", failure, info, rows, {"arm": chosen.settle()}, None, 1.0)
    page = write(tmp_path / "out", frame)
    cells = {
        title.partition(",")[0]: set(re.findall(r'class="(ring|diamond|cross)"', shapes)) | set(strokes)
        for title, shapes in re.findall(r"<g><title>(.*?)</title>(.*?)</g>", page)
        for strokes in [re.findall(r"l6 [06](?:m0 -6l-6 6)?", shapes)]
    }
    assert cells == {
        "weight 2⁻²": {"diamond"},
        "weight 2⁻¹": {"ring"},
        "weight 2⁰": {"cross", "l6 6"},
        "weight 2¹": {"cross", "l6 6m0 -6l-6 6"},
        "weight 2²": {"cross", "l6 0"},
    }
    assert "bias 2⁰: pruned, loss at least 0.75" in page


def test_a_job_without_ended_frames_has_a_report(tmp_path: Path) -> None:
    assert "No frame has ended yet" in write(tmp_path / "out")


def test_many_frames_are_listed_and_the_first_ones_drawn(tmp_path: Path) -> None:
    case = load_case("astronaut_64x96_lop")
    few = ended("x", case)
    few = few._replace(rows=tuple(row for row in few.rows if row.row.module == "upsampling"))
    n_frames = DETAILED_FRAMES + 5
    page = write(tmp_path / "out", *(few._replace(frame=f"f{n:03}") for n in range(n_frames)))
    assert page.count("<summary>") == DETAILED_FRAMES
    assert page.count('<td class="text">f') == n_frames
    assert f"{DETAILED_FRAMES} of {n_frames} frames are drawn" in page


def test_failures_without_rows_do_not_crowd_out_the_frames_that_have_some(
    tmp_path: Path, smallest_case: Case
) -> None:
    failures = [failed(f"f{n:03}", FrameFileError("empty")) for n in range(DETAILED_FRAMES + 1)]
    page = write(tmp_path / "out", *failures, ended("good", smallest_case))
    assert page.count("<summary>") == 1
    assert "<summary>good</summary>" in page


def test_what_was_chosen_is_a_table(tmp_path: Path, smallest_case: Case) -> None:
    page = write(tmp_path / "out", ended("astronaut", smallest_case))
    assert page.count('<table class="choices">') == 1
    for module in MODULES:
        (row,) = smallest_case.rows(module)[lambda rows: rows.chosen].to_dict("records")
        texts = [
            text
            for kind in ("weight", "bias")
            for text in (
                power(row[f"q_step_{kind}"]),
                int(row[f"expgol_cnt_{kind}"]),
                int(row[f"rate_{kind}_bit"]),
            )
        ]
        cells = "".join(f"<td>{text}</td>" for text in [*texts, f"{row['loss']:.8g}"])
        assert f'<tr><td class="text">{module}</td>{cells}</tr>' in page


def test_a_frame_without_choices_has_no_table_of_them(tmp_path: Path) -> None:
    rows = (MeasuredRow(RDRow("arm", QStepPair(1.0, 1.0), "overflow"), "r0"),)
    info = FrameInfo(64, 96, 0.001, "rgb", 8)
    frame = FrameEnded("x", "failed", InfeasibleModuleError("none"), info, rows, {}, None, 1.0)
    assert '<table class="choices">' not in write(tmp_path / "out", frame)


def test_a_folder_that_is_no_job_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is this the folder of a job"):
        write_report(str(tmp_path))


@pytest.mark.parametrize(("step", "label"), [(1.0, "2⁰"), (2.0**-12, "2⁻¹²"), (4.0, "2²")])
def test_steps_are_labelled_as_powers_of_two(step: float, label: str) -> None:
    assert power(step) == label
