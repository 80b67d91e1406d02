"""The memory of the benchmarks: ratios, their history, the comparison with it, and the plot."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

import benchmarks.__main__ as program
from benchmarks import bench_big, bench_index, bench_storage
from benchmarks.compare import MIN_RUNS, RUNS, compare, lower
from benchmarks.history import HISTORY, Figure, Run, keep, read, this_run
from benchmarks.measure import Ratio, Row, ratio
from benchmarks.plot import svg_history

SEEDS = 200
FIGURES = 30  # about as many as all rooms together have
QUIET = "Processor, 2 cores"


def run(number: int, machine: str = QUIET, *, loaded: bool = False) -> Run:
    return Run(f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z", "abc1234", machine, loaded)


def past(values: list[float], name: str = "tick", machine: str = QUIET, *, loaded: bool = False) -> list[Figure]:
    return [
        Figure(run(number, machine, loaded=loaded), "room", name, Ratio(value)) for number, value in enumerate(values)
    ]


def word(value: float, history: list[Figure], *, loaded: bool = False, spread: float = 0.0) -> str:
    now = Figure(run(99, loaded=loaded), "room", "tick", Ratio(value, 9, spread))
    return compare([now], history)[0].word


def test_a_moment_that_slows_both_of_a_pair_does_not_change_the_ratio() -> None:
    busy = np.array([1.0, 1.0, 7.0, 1.0, 3.0])
    assert ratio(list(2 * busy), list(busy)) == Ratio(2.0, 5, 0.0)


def test_planted_regressions_are_found_and_noise_is_not_over_many_seeds() -> None:
    """Log-normal noise of 1 to 10 %, one measurement in 50 half as long again; regressions of 1.5 to 3 times."""
    false_alarms = found = planted = alarmed_runs = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        noise = rng.uniform(0.01, 0.10, FIGURES)
        usual = np.exp(rng.uniform(-2, 3, FIGURES))

        def measured(
            rng: np.random.Generator = rng, usual: np.ndarray = usual, noise: np.ndarray = noise
        ) -> np.ndarray:
            disturbed = np.where(rng.random(FIGURES) < 0.02, 1.5, 1.0)
            return usual * np.exp(noise * rng.standard_normal(FIGURES)) * disturbed

        history = [
            Figure(run(number), "room", f"{place}", Ratio(float(value)))
            for number in range(RUNS)
            for place, value in enumerate(measured())
        ]
        slower = rng.random(FIGURES) < 0.1
        factor = np.where(slower, rng.uniform(1.5, 3, FIGURES), 1.0)
        first, again = (
            [
                Figure(run(99), "room", f"{place}", Ratio(float(value)))
                for place, value in enumerate(measured() * factor)
            ]
            for _ in range(2)
        )
        figures = lower(first, again)  # as what has regressed is measured again
        alarms = np.array([verdict.word == "regression" for verdict in compare(figures, history)])
        found += int((alarms & slower).sum())
        planted += int(slower.sum())
        false_alarms += int((alarms & ~slower).sum())
        alarmed_runs += bool((alarms & ~slower).any())
    print(f"{found} of {planted} found; {false_alarms} false of {SEEDS * FIGURES - planted}, in {alarmed_runs} runs")
    assert found >= 0.98 * planted
    assert false_alarms <= 0.003 * (SEEDS * FIGURES - planted)
    assert alarmed_runs <= 0.08 * SEEDS


def test_a_figure_is_compared_with_the_same_kind_of_machine_only() -> None:
    here, elsewhere = past([1.0] * MIN_RUNS), past([9.0] * RUNS, machine="Another, 64 cores")
    busy = past([3.0] * RUNS, loaded=True)
    assert word(1.5, [*here, *elsewhere, *busy]) == "regression"
    assert word(1.05, [*here, *elsewhere, *busy]) == "as usual"
    assert word(3.1, [*here, *elsewhere, *busy], loaded=True) == "as usual"
    assert word(9.0, [*elsewhere, *busy]) == "too few runs"


def test_a_new_level_becomes_usual_and_a_lower_ratio_is_no_regression() -> None:
    assert word(1.5, past([1.0] * RUNS + [1.5] * RUNS)) == "as usual"
    assert word(0.5, past([1.0] * RUNS)) == "better"


def test_a_run_whose_own_rounds_differ_widely_is_no_evidence() -> None:
    history = past([1.0] * RUNS)
    assert word(1.3, history, spread=0.05) == "regression"
    assert word(1.3, history, spread=0.50) == "as usual"


def test_history_is_kept_once_and_says_nothing_of_the_machine_but_its_processor(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    here = this_run()
    figures = [
        Figure(here, "room", 'a name, with "signs"', Ratio(1.25, 9, 0.125)),
        Figure(here, "room", "b", Ratio(2.0)),
    ]
    assert (keep(figures, path), keep(figures, path)) == (2, 0)
    assert keep(past([1.0, 2.0]), path) == 2
    assert read(path) == [*past([1.0, 2.0]), *figures]
    assert path.read_text(encoding="utf-8").splitlines()[1].count(",") == 10
    kept = path.read_text(encoding="utf-8")
    for bad in ("no,line", kept.splitlines()[1].replace("1.25", "0"), kept.splitlines()[1].replace("1.25", "nan")):
        path.write_text(f"{kept}{bad}\n", encoding="utf-8")
        with pytest.raises(SystemExit, match="line 6"):
            read(path)


def test_the_committed_history_can_be_read() -> None:
    assert all(figure.ratio.value > 0 for figure in read(HISTORY))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A room whose one ratio is the first of the returned list, which each measurement takes away."""
    ratios: list[float] = []
    module = ModuleType("benchmarks.bench_room")

    def rows() -> Iterator[Row]:
        yield "a floor", 1.0, "s", "nothing to compare"
        yield "tick", 3.0, "s", "over the floor", Ratio(ratios.pop(0))

    module.__dict__["rows"] = rows
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(program, "ROOMS", ("room",))
    monkeypatch.setattr(program, "RESULTS", tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(program, "HISTORY", tmp_path / "history.csv")
    yield ratios
    assert ratios == []  # every measurement was made


def call(*arguments: str) -> int:
    return program.main(arguments, Console(quiet=True))


def test_the_status_is_1_only_if_a_second_measurement_confirms_the_regression(
    room: list[float], tmp_path: Path
) -> None:
    machine = this_run().machine
    runs = [run(number, machine, loaded=number % 2 == 1) for number in range(2 * MIN_RUNS)]
    keep([Figure(each, "room", "tick", Ratio(1.0)) for each in runs], tmp_path / "history.csv")
    room += [1.02]
    assert call("--compare") == 0
    room += [2.0, 1.01]
    assert call("--compare", "room") == 0
    room += [2.0, 2.1]
    assert call("--compare") == 1
    assert call("--compare", "--last", "--keep") == 1
    assert read(tmp_path / "history.csv")[-1].ratio == Ratio(2.0)


def test_the_plot_names_every_figure_and_kind_of_machine(room: list[float], tmp_path: Path) -> None:
    history = [*past([1.0, 1.1, 0.9]), *past([2.0, 2.5], "a < b", "Another, 64 cores", loaded=True)]
    drawn = "".join(ElementTree.fromstring(svg_history(history)).itertext())
    assert all(words in drawn for words in ("room: tick", "room: a < b", QUIET, "Another, 64 cores, loaded"))
    keep(history, tmp_path / "history.csv")
    assert call("--plot", str(tmp_path / "history.svg")) == 0
    assert (tmp_path / "history.svg").read_text(encoding="utf-8") == svg_history(read(tmp_path / "history.csv"))


def test_a_wrong_room_is_named(room: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("rom")
    assert "no such room: rom; there are room" in capsys.readouterr().err


@pytest.mark.slow
def test_the_large_databases_fit_the_schema_and_take_less_space_than_the_originals(tmp_path: Path) -> None:
    scored = bench_index.build(tmp_path / "index.duckdb", 1_000)
    with scored.read() as connection:
        assert connection.execute("SELECT count(*) FROM scored_posts").fetchone() == (1_000,)
    rows = list(bench_storage.sizes("few texts", bench_big.build(tmp_path / "big.duckdb", 5_000), 5_000))
    assert [name for name, *_ in rows] == [
        "SQLite, the original's schema, few texts",
        "warehouse, the same tables, few texts",
        "warehouse, all tables, few texts",
    ]
    original, same, every = (value for _, value, *_ in rows)
    assert same <= every
    assert same < original
