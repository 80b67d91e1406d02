"""The harness of the fault matrix notes bugs that are planted: it compares, and does not only look whether it runs."""

from collections.abc import Iterator

import pytest
from faults.chain import Chain, differences
from faults.power import powered_disk
from faults.stages import BY_NAME, Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with Chain(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


def is_noticed(chain: Chain, stage: Stage) -> bool:
    """Whether a stage that succeeds when it is repeated has left something else than undisturbed."""
    chain.until_quiet(stage)
    return differences(chain.expected(stage), chain.contents(stage)) != {}


def writes_like(chain: Chain, stage: Stage, words: str) -> list[int]:
    """The numbers of the undisturbed stage's writes with these words."""
    return [number for number, step in enumerate(chain.steps(stage), start=1) if words in step]


def test_a_transaction_that_is_committed_statement_by_statement_is_noticed(chain: Chain) -> None:
    stage = BY_NAME["poll"]
    for bug, expected in ((None, False), ("statements are committed one by one", True)):
        chain.rewind(stage)
        ended = chain.run(
            stage, fault="SIGKILL", at=writes_like(chain, stage, "INSERT INTO catalog_snapshots")[-1], bug=bug
        )
        assert ended.fired
        assert is_noticed(chain, stage) == expected


def test_files_that_are_not_flushed_are_noticed_by_a_power_cut(chain: Chain) -> None:
    stage = BY_NAME["thumbnails"]
    with powered_disk(chain.place) as disk:
        for bug, expected in ((None, False), ("files are not flushed", True)):
            chain.rewind(stage)
            disk.flush()
            last = writes_like(chain, stage, "duckdb COMMIT")[-1]
            chain.run(stage, fault="power cut", at=last + 1, bug=bug)
            disk.cut_and_restart()
            assert is_noticed(chain, stage) == expected
