"""The report, looked at in a real browser: it says what the tables say, and works by mouse and by keyboard."""

import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from sweep import read_frames, read_rd_table
from sweep.report import page as page_module
from sweep.report import write_report
from sweep.report.terms import power
from sweep.results import Results
from sweep.schedule import SweptRow
from tests.browser import Reader
from tests.cases import ARM, NETWORKS
from tests.sweep.ended import ENCODED, done, failed_after_arm, make_job
from tests.sweep.report.jobs import CASES_SHOWN, HOSTILE, made_up_job, real_job, small_job
from workers.candidates import Candidate, Counts, Measured, Measurement, QStepPair, split_id
from workers.errors import ResultsError


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three real frames and one that failed, with their report."""
    job = real_job(tmp_path_factory.mktemp("real"))
    write_report(job.config.out)
    return Path(job.config.out)


@pytest.fixture
def open_job(reader: Reader, out: Path) -> Reader:
    reader.open(out / "report.html")
    return reader


def names_listed(reader: Reader) -> list[str]:
    return reader.page.locator("#list tbody tr td:first-child").all_inner_texts()


def cells_of(reader: Reader, frame: str) -> dict[str, str]:
    heads = [head.split("\n")[0].rstrip(" ▲▼") for head in reader.page.locator("#list thead th").all_inner_texts()]
    row = reader.page.locator("#list tbody tr", has=reader.page.get_by_role("link", name=frame, exact=True))
    return dict(zip(heads, row.locator("td").all_inner_texts(), strict=True))


def show(reader: Reader, frame: str) -> None:
    reader.page.locator("#picker").select_option(frame)
    expect(reader.page.locator("body")).to_have_attribute("data-ready", frame)


# --- the job


def test_the_list_says_what_the_table_of_frames_says(open_job: Reader, out: Path) -> None:
    frames = read_frames(out)
    assert len(frames) == len(CASES_SHOWN) + 1
    for name, frame in frames[frames.status == "done"].iterrows():
        bpp = frame.rate_latent_bpp + frame.rate_nn_bpp
        cells = cells_of(open_job, str(name))
        assert cells["bpp"] == f"{bpp:.4f}"
        assert cells["PSNR [dB]"] == f"{frame.psnr_db:.3f}"
        assert float(cells["loss"]) == pytest.approx(frame.loss, rel=1e-5)
        assert cells["networks"] == f"{100 * frame.rate_nn_bpp / bpp:.1f} %"
        assert cells["size"] == f"{frame.width:.0f}×{frame.height:.0f}"
    means = open_job.page.locator("#summary").inner_text()
    done = frames[frames.status == "done"]
    assert f"{(done.rate_latent_bpp + done.rate_nn_bpp).mean():.4f}" in means
    assert f"{done.psnr_db.mean():.3f} dB" in means


def test_failures_are_on_top_with_their_reasons_as_text(open_job: Reader) -> None:
    first = open_job.page.locator("main section:visible").first
    expect(first).to_contain_text("1 failed")
    expect(first).to_contain_text(f": {HOSTILE}")
    assert names_listed(open_job)[0] == HOSTILE.replace("/", "")
    assert open_job.page.locator("b, img").count() == 0, "what looks like HTML is text"
    show(open_job, HOSTILE.replace("/", ""))
    expect(open_job.page.locator("#frame-title")).to_have_text(HOSTILE.replace("/", ""))
    expect(open_job.page.locator("#frame-notes")).to_have_text("Nothing was measured of this frame.")


def test_the_list_is_sorted_by_any_column_both_ways(open_job: Reader, out: Path) -> None:
    frames = read_frames(out)
    done = frames[frames.status == "done"]
    for head, values in (("PSNR [dB]", done.psnr_db), ("bpp", done.rate_latent_bpp + done.rate_nn_bpp)):
        for descending in (False, True):
            open_job.page.get_by_role("button", name=head).click()
            expected = values.sort_values(ascending=not descending).index.tolist()
            assert names_listed(open_job)[: len(done)] == expected, "failed ones last"
            state = "descending" if descending else "ascending"
            assert open_job.page.locator(f"th[aria-sort={state}]").count() == 1


def test_the_list_is_searched_by_name_status_and_reason(open_job: Reader) -> None:
    search = open_job.page.locator("#search")
    for words, n_found in (
        ("astro", 1),
        ("frame-1", 1),
        ("done", 3),
        ("onerror", 1),
        ("FRAME done", 3),
        ("zzz", 0),
    ):
        search.fill(words)
        assert len(names_listed(open_job)) == n_found, words
    expect(open_job.page.get_by_role("status")).to_have_text("0 of 4 frames")
    search.fill("")
    expect(open_job.page.get_by_role("status")).to_have_text("4 frames")


def test_the_figures_of_the_job_are_drawn_and_count_every_frame(open_job: Reader) -> None:
    for name in ("steps", "counts", "stages", "utilisation"):
        assert open_job.page.locator(f"[data-figure={name}] svg path[aria-label]").count() > 0, name
    labels = open_job.page.locator("[data-figure=steps] path[aria-label]")
    frames = [int(label.rpartition("frames: ")[2]) for label in attributes(labels, "aria-label")]
    assert sum(frames) == 3 * 6, "a step for weights and one for biases, of each network of each frame"
    expect(open_job.page.locator("#curves")).to_be_hidden()


# --- a frame


def attributes(elements: Locator, name: str) -> list[str]:
    found: list[str] = elements.evaluate_all(f"all => all.map(one => one.getAttribute('{name}'))")
    return found


def of_label(label: str) -> dict[str, str]:
    return dict(part.split(": ", 1) for part in label.split("; "))


@pytest.mark.parametrize("index", range(len(CASES_SHOWN)))
def test_every_pair_is_a_cell_with_the_loss_of_the_table(open_job: Reader, out: Path, index: int) -> None:
    frame = read_frames(out).query("status == 'done'").index[index]
    show(open_job, frame)
    table = read_rd_table(out, frames=[frame])
    for network in NETWORKS:
        _, module = split_id(network)
        rows = table[table.module == module].set_index(["q_step_weight", "q_step_bias"])
        section = open_job.page.locator(f"section[data-module={module}]")
        cells = section.locator(".mark-rect path[aria-label]")
        labels = [of_label(label) for label in attributes(cells, "aria-label")]
        assert len(labels) == len(rows)
        best = rows.loss.min()
        for label in labels:
            row = rows.loc[(2.0 ** int(label["weight step"]), 2.0 ** int(label["bias step"]))]
            if row.status == "ok":
                assert float(label["loss"]) == pytest.approx(row.loss, rel=1e-7)
                excess = float(label["above the best"].removesuffix("%")) / 100
                assert excess == pytest.approx(row.loss / best - 1, abs=1e-6)
                assert float(label["PSNR [dB]"]) == pytest.approx(row.psnr_db, abs=1e-4)
                assert label["this network [bit]"] == f"{row.rate_weight_bit + row.rate_bias_bit:,}"
            else:
                assert (label["status"], label["loss"]) == (row.status, "–")
        (chosen,) = [label for label in labels if label["status"] == "chosen"]
        winner = rows[rows.chosen]
        assert (2.0 ** int(chosen["weight step"]), 2.0 ** int(chosen["bias step"])) == winner.index[0]
        front = section.locator("figure").nth(1).locator("svg path[aria-label]")
        assert front.count() >= (rows.status == "ok").sum(), "rate and distortion of every pair that has them"


def test_pointing_at_a_cell_shows_its_exact_values(open_job: Reader) -> None:
    show(open_job, "frame-1")
    cell = open_job.page.locator("section[data-module=arm] .mark-rect path[aria-label]").nth(30)
    label = of_label(attributes(cell, "aria-label")[0])
    cell.hover()
    tooltip = open_job.page.locator("#vg-tooltip-element")
    expect(tooltip).to_be_visible()
    expect(tooltip).to_contain_text(label["loss"])
    expect(tooltip).to_contain_text(power(int(label["weight step"])))


def test_all_pairs_can_be_read_without_pointing(open_job: Reader, out: Path) -> None:
    show(open_job, "frame-1")
    section = open_job.page.locator("section[data-module=synthesis]")
    section.get_by_text("All pairs as a table").click()
    expect(section.locator("tbody tr")).to_have_count(325)
    texts = [row.split("\t") for row in section.locator("tbody tr").all_inner_texts()]
    rows = read_rd_table(out, frames=["frame-1"], modules=["synthesis"])
    assert len(texts) == len(rows)
    losses = [float(text[3]) for text in texts if text[3] != "–"]
    assert losses == pytest.approx(rows.loss.dropna().tolist(), rel=1e-7)


def test_where_the_bits_go_adds_up_to_what_the_frame_costs(open_job: Reader, out: Path) -> None:
    show(open_job, "frame-2")
    bars = open_job.page.locator("[data-figure=bits] .mark-rect path[aria-label]")
    bits = [float(of_label(label)["estimate [bit]"].replace(",", "")) for label in attributes(bars, "aria-label")]
    record = read_frames(out).loc["frame-2"]
    pixels = record.width * record.height
    assert sum(bits) == pytest.approx((record.rate_latent_bpp + record.rate_nn_bpp) * pixels, abs=1)
    assert len(bits) == 7 + 6


def test_original_reconstruction_and_error_are_side_by_side(open_job: Reader) -> None:
    for frame, size in (("frame-1", [96, 64]), ("frame-2", [149, 99])):
        show(open_job, frame)
        pictures = open_job.page.locator("#pictures img")
        expect(pictures).to_have_count(3)
        assert pictures.evaluate_all("all => all.map(one => [one.naturalWidth, one.naturalHeight])") == [size] * 3
        tops = pictures.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
        assert len(set(tops)) == 1


def test_frames_are_switched_by_button_link_address_and_history(open_job: Reader, out: Path) -> None:
    page = open_job.page
    title, ready = page.locator("#frame-title"), page.locator("body")
    page.get_by_role("link", name="frame-1", exact=True).focus()
    page.keyboard.press("Enter")
    expect(ready).to_have_attribute("data-ready", "frame-1")
    expect(title).to_be_focused()
    page.get_by_role("button", name="next frame").click()
    expect(title).not_to_have_text("frame-1")
    page.go_back()
    expect(title).to_have_text("frame-1")
    page.get_by_role("link", name="All frames").click()
    expect(ready).to_have_attribute("data-ready", "job")
    open_job.open(out / "report.html", "frame=no%20such%20frame")
    expect(page.locator("#job-view")).to_be_visible()


def test_figures_follow_the_width_of_the_window(open_job: Reader) -> None:
    page = open_job.page
    for widths in ([400], [1280], [500, 400, 1280, 360, 1000]):
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            """() => ["stages", "utilisation"].every((name) => {
                const figure = document.querySelector(`[data-figure=${name}]`);
                const widths = [...figure.querySelectorAll("svg.marks")].map((svg) => svg.getAttribute("width"));
                return widths.length === 1 && Number(widths[0]) === Math.min(figure.clientWidth, 620);
            })"""
        )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_follows_the_colours_of_the_system(
    browser: Browser, out: Path, width: int, *, dark: bool
) -> None:
    reader = Reader(browser, width, dark=dark)
    for fragment in ("", "frame=frame-2"):
        reader.open(out / "report.html", fragment)
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    ink = reader.page.locator("[data-figure=bits] .role-axis-label text").first.evaluate(
        "one => getComputedStyle(one).fill"
    )
    brightness = sum(int(value) for value in ink[4:-1].split(","))
    assert (brightness > 384) == dark
    assert reader.complaints == []
    reader.close()


def test_the_page_needs_nothing_but_itself(reader: Reader, out: Path, tmp_path: Path) -> None:
    shutil.copy(out / "report.html", tmp_path / "mailed.html")
    reader.open(tmp_path / "mailed.html", "frame=frame-1")
    expect(reader.page.locator("section[data-module=arm] svg")).to_have_count(2)


# --- jobs of other kinds


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand frames."""
    job = made_up_job(tmp_path_factory.mktemp("large"), 1000)
    write_report(job.config.out)
    return Path(job.config.out)


def test_a_thousand_frames_are_shown_within_seconds_and_bounds(
    browser: Browser, reader: Reader, out: Path, large: Path
) -> None:
    # Three seconds; where other things keep the machine busy, or it is slow, it shows in how long four frames take.
    start = time.monotonic()
    few = Reader(browser)
    few.open(out / "report.html")
    show(few, "frame-1")
    few.close()
    limit = max(3.0, 3 * (time.monotonic() - start))
    start = time.monotonic()
    reader.open(large / "report.html")
    assert time.monotonic() - start < limit
    assert (large / "report.html").stat().st_size < page_module.EMBEDDED_BYTES + (3 << 20)
    beside = list((large / "report").iterdir())
    assert 500 < len(beside) < 1000
    assert max(path.stat().st_size for path in beside) < 200_000
    assert len(names_listed(reader)) == 200
    reader.page.get_by_role("button", name="Show more").click()
    assert len(names_listed(reader)) == 400
    reader.page.locator("#search").fill("frame 0998")
    assert names_listed(reader) == ["frame 0998"]
    start = time.monotonic()
    reader.page.get_by_role("link", name="frame 0998").click()
    expect(reader.page.locator("body")).to_have_attribute("data-ready", "frame 0998")
    assert time.monotonic() - start < limit
    expect(reader.page.locator("section[data-module=arm] .mark-rect path[aria-label]")).to_have_count(153)


def test_details_that_come_late_are_not_shown_as_those_of_another_frame(reader: Reader, large: Path) -> None:
    late: list[Route] = []
    reader.page.route("**/frame%200998.js", lambda route: late.append(route))
    reader.open(large / "report.html")
    reader.page.evaluate("location.hash = 'frame=frame%200998'")
    expect(reader.page.locator("#frame-title")).to_have_text("frame 0998")
    show(reader, "frame 0000")
    shown = reader.page.locator("section[data-module=arm]")
    shown.evaluate("(section) => section.dataset.frame = '0000'")
    (asked_for,) = late
    arrived = "new Promise((resolve) => document.querySelector('script[src]').addEventListener('load', resolve))"
    reader.page.evaluate(f"window.arrived = {arrived}; null")
    asked_for.continue_()
    reader.page.evaluate("window.arrived.then(() => new Promise((resolve) => setTimeout(resolve, 100)))")
    expect(shown).to_have_attribute("data-frame", "0000")
    show(reader, "frame 0998")
    expect(shown).not_to_have_attribute("data-frame", "0000")


def test_details_that_did_not_come_along_are_told_of(browser: Browser, large: Path, tmp_path: Path) -> None:
    shutil.copy(large / "report.html", tmp_path / "mailed.html")
    reader = Reader(browser)
    reader.open(tmp_path / "mailed.html", "frame=frame%200998")
    expect(reader.page.locator("#frame-notes")).to_contain_text(
        "in a file beside this page, report/frame 0998.js, which cannot be read"
    )
    expect(reader.page.locator("#frame-facts")).to_contain_text("96×64")
    reader.close()


def test_details_of_frames_beyond_the_bounds_are_in_the_table_alone(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "DETAILED_FRAMES", 2)
    monkeypatch.setattr(page_module, "LISTED_FRAMES", 3)
    job = small_job(tmp_path, ["a", "b", "c", "d"])
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    assert names_listed(reader) == ["a", "b", "c"]
    expect(reader.page.locator("#unlisted")).to_contain_text("3 of 4 frames are listed")
    show(reader, "c")
    expect(reader.page.locator("#frame-notes")).to_contain_text("all of them are in rd_table")


def test_a_job_that_has_just_begun_has_a_report(reader: Reader, tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    expect(reader.page.locator("#title")).to_have_text("qsweep: 0 of 2 frames done")
    expect(reader.page.locator("#state")).to_contain_text(
        "2 frames have not ended; the same command resumes the job"
    )
    with results.claimed():
        write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    expect(reader.page.locator("#state")).to_contain_text("running, 2 frames have not ended")


def test_a_frame_that_failed_half_way_shows_what_was_measured_of_it(reader: Reader, tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.write_frame(failed_after_arm("a"))
    results.write_summary()
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html", "frame=a")
    expect(reader.page.locator("#frame-error")).to_have_text("failed: RuntimeError: no more")
    cells = reader.page.locator("section[data-module=arm] .mark-rect path[aria-label]")
    assert [of_label(label)["status"] for label in attributes(cells, "aria-label")].count("overflow") == 1
    expect(reader.page.locator("#bits")).to_be_hidden()


def test_files_and_edges_of_the_grid_are_told(reader: Reader, tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    results = Results(job)
    results.write_frame(done("a")._replace(quantized=ENCODED.quantized, encoded=ENCODED))
    results.write_frame(done("b"))
    results.write_summary()
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    assert cells_of(reader, "a")["file [bytes]"] == str(ENCODED.sizes.total)
    warning = "2 of 2 frames chose the finest step of the grid, 2⁻², for synthesis biases"
    expect(reader.page.locator("#edges")).to_contain_text(warning)
    show(reader, "a")
    expect(reader.page.locator("section[data-module=synthesis]")).to_contain_text("is the finest of the grid")
    expect(reader.page.locator("#frame-notes")).to_contain_text("The original cannot be shown:")
    expect(reader.page.locator("#frame-notes")).to_contain_text("The pictures cannot be drawn:")
    assert reader.page.locator("#pictures img").count() == 0


def test_what_is_special_about_a_pair_is_told_by_shape_not_by_colour_alone(reader: Reader, tmp_path: Path) -> None:
    measured = Measured(Counts(1, 1), 10, 10, 20, 100.0, 0.01, 0.5, 0.01)
    chosen = Measurement(Candidate(ARM, QStepPair(0.5, 1.0)), "ok", measured._replace(loss=0.49999), "plain")
    rows = (
        Measurement(Candidate(ARM, QStepPair(0.25, 1.0)), "ok", measured, "plain"),
        chosen,
        Measurement(Candidate(ARM, QStepPair(1.0, 1.0)), "overflow"),
        Measurement(Candidate(ARM, QStepPair(2.0, 1.0)), "non_finite"),
        Measurement(Candidate(ARM, QStepPair(4.0, 1.0)), "pruned", loss_lower_bound=0.75),
    )
    job = make_job(tmp_path, ["x"])
    results = Results(job)
    ended = failed_after_arm("x")._replace(rows=tuple(SweptRow(row, "r0") for row in rows))
    results.write_frame(ended._replace(choices={ARM: chosen.choice()}))
    results.write_summary()
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html", "frame=x")
    figure = reader.page.locator("section[data-module=arm] figure").first
    marks = figure.locator(".mark-symbol.role-mark path[aria-label]")
    labels = [of_label(label) for label in attributes(marks, "aria-label")]
    expected = {"near-tie", "chosen", "overflow", "loss not finite", "pruned"}
    assert {label["status"] for label in labels} == expected
    assert len(set(attributes(marks, "d"))) == len(labels) == len(expected)
    (pruned,) = (label for label in labels if label["status"] == "pruned")
    assert pruned["loss"] == "at least 0.75"
    legend = figure.locator(".role-legend").all_text_contents()
    assert all(name in " ".join(legend) for name in expected)


def test_pictures_with_several_weights_of_the_rate_have_curves(reader: Reader, tmp_path: Path) -> None:
    frames = [{"frame": "a.png", "lmbda": [0.01, 0.02, 0.04]}, {"frame": "b.png", "lmbda": [0.01, 0.02]}]
    job = make_job(tmp_path, [], frames=frames)
    results = Results(job)
    for item in job.frames:
        ended = done(item.id)
        assert ended.info is not None
        assert item.lmbda is not None
        results.write_frame(ended._replace(info=ended.info._replace(lmbda=item.lmbda)))
    results.write_summary()
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    points = reader.page.locator("[data-figure=curves] .mark-symbol.role-mark path[aria-label]")
    labels = [of_label(label) for label in attributes(points, "aria-label")]
    assert [(label["picture"], label["λ or quality"]) for label in labels] == [
        (item.frame.rpartition("/")[2], f"{item.lmbda:g}") for item in job.frames
    ]


def test_rows_that_are_damaged_are_told_of_and_the_rest_is_shown(reader: Reader, tmp_path: Path) -> None:
    job = small_job(tmp_path, ["a", "b"])
    (Path(job.config.out) / "rd_table" / "frame=a" / "part-0.parquet").write_bytes(b"PAR1")
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html", "frame=a")
    expect(reader.page.locator("#frame-notes")).to_contain_text("damaged, or not of this program")
    show(reader, "b")
    expect(reader.page.locator("section[data-module]")).to_have_count(3)


def test_what_earlier_reports_left_beside_the_page_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = small_job(tmp_path, ["a", "b%:"])
    monkeypatch.setattr(page_module, "EMBEDDED_BYTES", 0)
    write_report(job.config.out)
    folder = Path(job.config.out) / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["a.js", "b%25%3A.js"]
    monkeypatch.undo()
    write_report(job.config.out)
    assert list(folder.iterdir()) == []


def test_names_of_any_kind_find_their_files(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["100%", "a b#c", "ünï", "x&y"]
    job = small_job(tmp_path, names)
    monkeypatch.setattr(page_module, "EMBEDDED_BYTES", 0)
    write_report(job.config.out)
    reader.open(Path(job.config.out) / "report.html")
    for name in names:
        show(reader, name)
        expect(reader.page.locator("section[data-module]")).to_have_count(3)


def test_as_many_pictures_are_drawn_as_are_asked_for(out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for pictures, n_drawn in ((0, 0), (2, 2), (None, 3)):
        write_report(str(copy), pictures=pictures)
        assert (copy / "report.html").read_text("utf-8").count('"decoded":"data:image/webp') == n_drawn


def test_a_folder_that_is_no_job_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is this the folder of a job"):
        write_report(str(tmp_path))
