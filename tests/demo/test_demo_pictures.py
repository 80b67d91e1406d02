"""The simulated board's pictures: which carry the stance, how their kinds are told, and what they add to the index."""

import random
from collections import Counter
from datetime import datetime

import pytest

from benchmarks.bench_fusion import compare
from benchmarks.pictured_boards import Pool, picture_pool
from bizcharts_pipeline.demo.pictures import picture, plan_of
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.images.features import FeatureReader

START, END = datetime(2026, 1, 1), datetime(2026, 1, 3)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return picture_pool(15)


def test_a_picture_carries_the_stance_where_the_text_does_not() -> None:
    threads = World(3, START, 3).threads_between(START, END)
    silent = [thread for thread in threads if thread.wordless or thread.ironic]
    assert len(silent) > 40
    assert all(plan_of(thread).stance == thread.stance for thread in silent)
    assert all(plan_of(thread).kind != "photo" for thread in silent)
    carried = Counter(plan_of(thread).stance is not None for thread in threads)
    assert 0.4 < carried[False] / len(threads) < 0.5


@pytest.mark.slow
def test_the_kinds_of_the_boards_pictures_are_told_apart() -> None:
    threads = World(4, START, 3).threads_between(START, END)
    random.Random(1).shuffle(threads)
    counts: Counter[tuple[str, str]] = Counter()
    with FeatureReader(1_000_000, "test") as reader:
        reader.start()
        kinds = ("chart", "screenshot", "meme", "photo") if reader.ocr_problem is None else ("photo",)
        for kind in kinds:
            for thread in [thread for thread in threads if plan_of(thread).kind == kind][:12]:
                counts[kind, reader.read(picture(thread, "thumbnail")).kind] += 1
    assert sum(n for (drawn, told), n in counts.items() if drawn == told) >= 0.9 * counts.total(), counts


@pytest.mark.slow
def test_pictures_that_carry_the_stance_lower_the_indexs_error_and_others_do_no_harm(pool: Pool) -> None:
    speaking = compare(pool, speaking=True, boards=4, fitted=4)
    assert speaking.gain > 0.08, speaking.gain
    silent = compare(pool, speaking=False, boards=2, fitted=4)
    assert silent.gain > -0.05, silent.gain


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_the_gain_is_significant_over_two_hundred_boards_and_so_is_the_absence_of_harm() -> None:
    pool = picture_pool(60)
    gain, (lo, _) = (found := compare(pool, speaking=True, boards=200)).gain, found.interval
    assert gain > 0.1
    assert lo > 0.1
    assert compare(pool, speaking=False, boards=200).interval[0] > -0.02
