"""Every reader of foreign input, on random changes of valid inputs: it reads them or raises an error of its own.

The budget is ``FUZZ_SECONDS`` (default: ten minutes in acceptance), shared evenly by the targets;
``FUZZ_SEED`` repeats a run. A failing input is kept, and its path printed.
"""

import faulthandler
import os
import sys
import time
import traceback
from pathlib import Path
from random import Random

import pytest
from fuzz.mutations import mutated, mutated_json
from fuzz.targets import Target, all_targets

SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or time.time_ns()
SHORT_INPUTS = 60  # of each target in the quick run
STUCK_SECONDS = 120  # of one input; a reader that is not done by then ends the process with its traceback
MOST_FAILURES = 5  # of a target


def test_a_few_changed_inputs_of_each_reader_end_in_a_result_or_a_named_error(tmp_path: Path) -> None:
    with all_targets(tmp_path) as targets:
        failures = [line for target in targets for line in fuzz(target, Random(1), tmp_path, inputs=SHORT_INPUTS)[1]]
    assert failures == []


@pytest.mark.acceptance
def test_no_changed_input_within_the_budget_is_an_error_without_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = []
    with all_targets(tmp_path) as targets:
        for target in targets:
            read, failed = fuzz(target, Random(SEED), tmp_path, seconds=SECONDS / len(targets))
            failures += failed
            with capsys.disabled():
                print(f"\n{target.name}: {read:,} inputs, {len(failed)} failures (seed {SEED})", end="")
    assert failures == []


def test_an_error_that_a_reader_does_not_name_is_found(tmp_path: Path) -> None:
    def careless(content: bytes) -> object:
        return int(content[:4])

    _, failures = fuzz(Target("careless", [b"1234 and more"], careless), Random(1), tmp_path, inputs=200)
    assert "ValueError" in failures[0]


def fuzz(
    target: Target, rng: Random, folder: Path, *, inputs: int | None = None, seconds: float = float("inf")
) -> tuple[int, list[str]]:
    """Read changed inputs until ``inputs`` or ``seconds`` are used up; return their number and the failures."""
    failures: list[str] = []
    for seed in target.seeds:  # a reader that refuses what is valid would make everything else pass
        target.read(seed)
    count, end = 0, time.monotonic() + seconds
    while (inputs is None or count < inputs) and time.monotonic() < end and len(failures) < MOST_FAILURES:
        count += 1
        seed = rng.choice(target.seeds)
        if target.is_json and rng.random() < 0.5:
            content = mutated_json(rng, seed)
        else:
            content = mutated(rng, seed, rng.choice(target.seeds))
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=sys.__stderr__)
        try:
            target.read(content)
        except target.errors:
            pass
        except Exception:
            kept = folder / f"{target.name.replace(' ', '-').replace('/', '-')}-{count}"
            kept.write_bytes(content)
            failures.append(f"{target.name}, input {count}, kept in {kept}:\n{traceback.format_exc()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
    return count, failures
