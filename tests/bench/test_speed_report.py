"""Pages say what was measured, and what was not run and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.bench.report import GIB
from kebyt5.bench.speed import Case, Result, Speed
from kebyt5.bench.speed_report import exponent, exponent_table, plot_speed, report_speed
from kebyt5.generation.request import GenerationStatistics
from tests.bench.pages import row


def rounds(part, *seconds):
    return {part: list(seconds)}


@pytest.fixture
def speed():
    speed = Speed("train", rounds=3)
    for length, factor in ((512, 1.0), (1024, 3.0)):
        case = Case("base", 1, length, 128)
        speed.results += [
            Result(case, "transformers-eager", needs=40 * GIB),
            Result(case, "transformers-sdpa", rounds("step", 4 * factor, 8 * factor, 6 * factor),
                   cold=9.0, peak=7 * GIB),
            Result(case, "kebyt5-gbst", rounds("step", 2 * factor, 2 * factor, 2 * factor),
                   cold=2.5, peak=5 * GIB),
            Result(case, "floor, plain", rounds("step", 4 * factor, 4 * factor, 4 * factor)),
            Result(case, "floor, GBST", rounds("step", 1 * factor, 1 * factor, 1 * factor)),
        ]  # fmt: skip
        speed.losses |= {(case, "transformers-sdpa"): 6.0, (case, "kebyt5"): 6.0006}
    return speed


@given(
    st.floats(0.5, 3), st.floats(0.01, 100),
    st.lists(st.integers(16, 10_000), min_size=2, max_size=6, unique=True),
)  # fmt: skip
def test_exponent_of_a_power_law_is_found(power, scale, lengths):
    assert exponent(lengths, [scale * x**power for x in lengths]) == pytest.approx(power, abs=1e-4)


def test_exponent_is_that_of_least_squares_where_points_do_not_lie_on_a_line():
    assert exponent([1, 10, 100], [1, 1, 100]) == pytest.approx(1.0)


def test_a_page_has_medians_ranges_ratios_cold_runs_and_peaks(speed):
    page = report_speed(speed)
    assert page.startswith("# Training step\n")
    assert "## base, batch 1, 512 bytes in, 128 out" in page
    assert row(page, "")[1:] == ["step, s", "times sdpa", "/ floor", "first, s", "peak, GiB"]
    ours = row(page, "kebyt5, GBST")
    assert ours == ["kebyt5, GBST", "2 (2 to 2)", "3.00", "2.00", "2.5", "5.0"]
    theirs = row(page, "Transformers, sdpa")
    assert theirs == ["Transformers, sdpa", "6 (4 to 8)", "1.00", "1.50", "9", "7.0"]


def test_a_page_on_copies_names_the_model_that_copies():
    page = report_speed(Speed("copy", rounds=3, checkpoint="runs/ner"))
    assert "The GBST model is `runs/ner`, widened to this shape" in page


def test_what_does_not_fit_is_reported_with_its_estimate(speed):
    page = report_speed(speed)
    cells = row(page, "Transformers, eager")
    assert cells[1] == "does not fit: needs about 40.0 GiB"
    assert not any(cells[2:])


def test_a_page_says_whether_alternatives_agree(speed):
    assert "differ by at most 1.0e-04" in report_speed(speed)


def test_every_alternative_has_its_exponent(speed):
    lines = exponent_table(speed)
    (sdpa,) = [line for line in lines if "sdpa" in line]
    assert "512 to 1,024" in sdpa
    assert sdpa.endswith(" 1.58 |")
    assert not any("eager" in line for line in lines)
    speed.results = [r for r in speed.results if r.case.length == 512]
    assert exponent_table(speed) == []


def test_generation_is_told_by_its_parts():
    case = Case("base", 8, 1024, 64)
    parts = {"encode": [2.0, 2.0], "byte": [0.05, 0.04], "total": [5.2, 4.6]}
    theirs = {"encode": [4.0, 4.0], "byte": [0.1, 0.1], "total": [10.4, 9.2]}
    counts = GenerationStatistics(passes=40, decided=40, copied=128, forced=344, proposed=256,
                        proposed_forced=430)  # fmt: skip
    floors = {"encode": [1.0, 1.0], "byte": [0.03, 0.03], "total": [2.5, 2.5]}
    speed = Speed("generate", rounds=2, results=[
        Result(case, "ctranslate2-int8", theirs),
        Result(case, "kebyt5", parts, cold=5.0, peak=3 * GIB),
        Result(case, "kebyt5-engine", parts, cold=5.0, peak=3 * GIB, statistics=counts),
        Result(case, "floor, plain", floors),
    ])  # fmt: skip
    page = report_speed(speed)
    heads = row(page, "")
    assert heads[1:6] == ["encode, s", "ms per byte", "total, s", "bytes/s",
                          "times CTranslate2 int8"]  # fmt: skip
    ours = row(page, "kebyt5, plain")
    assert ours[1:8] == ["2", "45.0", "4.9 (4.6 to 5.2)", "104.5", "2.00", "1.96", "1.50"]
    engine = dict(zip(heads, row(page, "kebyt5 engine, plain"), strict=True))
    assert (engine["passes"], engine["copied"], engine["forced"]) == ("5.0", "25%", "67%")
    assert (engine["copies accepted"], engine["forced accepted"]) == ("50%", "80%")


@pytest.mark.parametrize("measure", ["train", "generate"])
def test_plots_are_written_whole(speed, measure, tmp_path):
    if measure == "generate":
        parts = {"encode": [2.0], "byte": [0.05], "total": [5.2]}
        speed = Speed(
            "generate", rounds=2, results=[Result(Case("base", 1, 64, 8), "kebyt5", parts)]
        )
    plot_speed(speed, tmp_path / "plot.png")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
