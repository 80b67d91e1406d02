"""The asset, as Dagster runs it, on a service on loopback."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from autolabel_world import LabelWorld, thread

from assets.auto_label_checks import budget_is_left, few_are_malformed, few_are_refused, one_model_answers
from assets.auto_labels import auto_labels
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from resources.auto_labelling import SECTIONS, AutoLabelling
from resources.warehouse import Warehouse


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis() as apis:
        monkeypatch.setenv("OPENAI_BASE_URL", apis.openai_url)
        yield apis


def materialised(
    world: LabelWorld, dry_run: bool = False, **sections: Any
) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    settings = world.settings(**sections)
    values = {name: section for name, section in settings.model_dump(mode="json").items() if name in SECTIONS}
    result = dg.materialize(
        [auto_labels, few_are_refused, few_are_malformed, one_model_answers, budget_is_left],
        resources={
            "warehouse": Warehouse(database=str(world.database.path)),
            "auto_labelling": AutoLabelling(home=str(world.home), values=values),
        },
        run_config={"ops": {"auto_labels": {"config": {"dry_run": dry_run}}}},
        raise_on_error=False,
    )
    events = result.asset_materializations_for_node("auto_labels")
    failures = [event.event_specific_data.user_failure_data for event in result.get_step_failure_events()]
    metadata = events[0].metadata if events else failures[0].metadata if failures[0] else {}
    return result, {name: value.value for name, value in metadata.items()}


def outcome(result: dg.ExecuteInProcessResult, name: str) -> tuple[bool, dg.AssetCheckSeverity]:
    (found,) = [check for check in result.get_asset_check_evaluations() if check.check_name == name]
    return found.passed, found.severity


def test_a_run_labels_and_reports_and_a_dry_run_only_counts(world: LabelWorld, apis: SimulatedLabelApis) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    _, metadata = materialised(world, dry_run=True)
    assert "4o\\-mini | 10 | 0 | 0 |" in metadata["next_run"]
    assert apis.asked == []
    result, metadata = materialised(world)
    assert result.success
    assert len(apis.asked) == 10
    assert Decimal(str(metadata["usd_run_known"])) == apis.bill().usd
    assert metadata["run_by_provider"]["openai"] == {"posts": 10, "labelled": 10}
    assert sum(metadata["labels"]["openai"].values()) == 10
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())


def test_a_paid_job_needs_a_key_and_a_cap_of_the_operator(
    world: LabelWorld, apis: SimulatedLabelApis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is run config."""
    world.put(*(thread(number) for number in range(1, 4)))
    result, metadata = materialised(world, labels={"usd_per_run": 0})
    assert result.success
    assert metadata["posts_left"] == 3
    assert apis.asked == []
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    _, metadata = materialised(world)
    assert "set OPENAI_API_KEY in the environment" in metadata["nothing_asked"]
    assert apis.asked == []


def test_without_a_provider_nothing_is_asked_and_nothing_is_wrong(world: LabelWorld, apis: SimulatedLabelApis) -> None:
    world.put(thread(1))
    for dry_run in (True, False):
        result, _ = materialised(world, dry_run, labels={"providers": []})
        assert result.success
        assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    assert apis.asked == []


def test_a_database_that_cannot_be_used_fails_the_run_and_nothing_is_asked(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    world.home.mkdir()
    world.database.path.write_bytes(b"no database" * 1_000)
    result, _ = materialised(world)
    assert not result.success
    assert apis.asked == []


def test_an_address_that_cannot_be_used_is_named_and_no_provider_is_asked(
    world: LabelWorld, apis: SimulatedLabelApis, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(thread(1))
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://example.org")
    result, metadata = materialised(world, labels={"providers": ["openai", "gemini"]})
    assert result.success
    assert outcome(result, "models_could_be_asked") == (False, dg.AssetCheckSeverity.ERROR)
    assert metadata["faults"].startswith("GOOGLE_GEMINI_BASE_URL")
    assert apis.asked == []


def test_what_ends_a_provider_fails_its_check_after_all_is_written_and_not_the_run(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    apis.fault_of = lambda text: LabelFault.QUOTA if "post 7 " in text else None
    result, metadata = materialised(world, labels={"most_at_once": 1})
    assert result.success
    assert outcome(result, "models_could_be_asked") == (False, dg.AssetCheckSeverity.ERROR)
    assert metadata["run_by_provider"]["openai"]["ended"].startswith("stop")
    assert "quota" in metadata["faults"]
    assert 0 < len(world.rows()) == 10
    apis.fault_of = lambda text: None
    result, _ = materialised(world)
    assert outcome(result, "models_could_be_asked")[0]
    assert {status for (status,) in world.rows("status")} == {"labelled"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_model_without_a_price_fails_the_check_with_its_name(
    world: LabelWorld, apis: SimulatedLabelApis, dry_run: bool
) -> None:
    world.put(thread(1))
    result, metadata = materialised(world, dry_run, openai={"model": "acme-vision-1"})
    assert result.success
    assert outcome(result, "models_could_be_asked") == (False, dg.AssetCheckSeverity.ERROR)
    assert "acme-vision-1" in metadata["faults"]


def test_the_checks_fail_where_too_much_is_refused_and_warn_where_money_runs_out(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    world.put(*(thread(number) for number in range(1, 11)))
    apis.fault_of = lambda text: LabelFault.REFUSAL if "1 about" in text or "2 about" in text else None
    result, metadata = materialised(world, labels={"usd_per_month": "0.0006"})
    outcomes = {check.check_name: (check.passed, check.severity) for check in result.get_asset_check_evaluations()}
    assert result.success
    assert metadata["posts_left"] > 0 or outcomes["few_are_refused"][0] is False
    materialised(world)
    result, _ = materialised(world, labels={"usd_per_month": "0.0006"})
    outcomes = {check.check_name: (check.passed, check.severity) for check in result.get_asset_check_evaluations()}
    assert outcomes["few_are_refused"] == (False, dg.AssetCheckSeverity.ERROR)
    assert outcomes["few_are_malformed"][0]
    assert outcomes["budget_is_left"] == (False, dg.AssetCheckSeverity.WARN)
