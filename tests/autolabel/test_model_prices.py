"""Prices belong to models: whatever is asked and whoever answers, what is booked covers the bill."""

import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from autolabel_world import OK, FakeBatches, FakeProvider, LabelWorld, thread

from bizcharts_pipeline.autolabel import budget, cost
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import BatchState, Usage
from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.autolabel.report import Report
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.label_apis.wire import LabelFault
from bizcharts_pipeline.settings import Settings

TODAY = date(2026, 11, 28)
POSTS = 40
ACME = {"acme-vision-1": {"input": "1.10", "output": "3.30"}}


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis(rates={LabelFault.GATEWAY_TIMEOUT: 0.1, LabelFault.RATE: 0.05}) as running:
        running.retry_after = "0.05"
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.gemini_url)
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_VERSION"):
            monkeypatch.delenv(name, raising=False)
        yield running


def labelled(world: LabelWorld, name: str, section: dict[str, Any], usd: str = "1") -> Report:
    """Label 40 posts through the SDK of ``name``."""
    world.put(*(thread(number) for number in range(1, POSTS + 1)))
    settings = world.settings(labels={"providers": [name], "usd_per_run": usd, "usd_per_month": usd}, **{name: section})
    providers = open_providers(settings)
    try:
        return world.labelling(*providers.values(), settings=settings).label_posts()
    finally:
        for provider in providers.values():
            provider.close()


def terms(provider: str = "openai", today: date = TODAY, **section: Any) -> cost.Terms:
    return cost.terms(Settings.model_validate({provider: section}), provider, "chat", today)


@pytest.mark.parametrize("usd", ["1", "0.02"])
@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("openai", {"model": "gpt-4o-mini"}),
        ("openai", {"model": "gpt-4o"}),
        ("openai", {"model": "gpt-5.6-luna"}),
        ("openai", {"model": "gpt-6-sol"}),
        ("openai", {"model": "gpt-6-luna", "endpoint": "decisions"}),
        ("openai", {"model": "acme-vision-1", "prices": ACME}),
        ("gemini", {"model": "gemini-3.5-flash-lite"}),
    ],
)
def test_what_is_booked_covers_the_bill_and_the_cap_covers_both(
    world: LabelWorld, apis: SimulatedLabelApis, name: str, section: dict[str, Any], usd: str
) -> None:
    apis.books.cache_write_share = 0.9
    report = labelled(world, name, section, usd)
    bill = apis.bill(name)
    assert bill.hung or usd != "1"
    assert bill.answered
    assert bill.usd <= report.run.usd <= Decimal(usd)
    assert report.faults == []


@pytest.mark.parametrize("usd", ["1", "0.1", "0.02"])
def test_an_id_that_is_answered_by_a_dearer_model_is_booked_at_that_models_price(
    world: LabelWorld, apis: SimulatedLabelApis, usd: str
) -> None:
    apis.rates = {LabelFault.GATEWAY_TIMEOUT: 0.2, LabelFault.RATE: 0.05}
    apis.books.rerouted["gpt-4o-mini"] = "gpt-4o"
    report = labelled(world, "openai", {"model": "gpt-4o-mini"}, usd)
    assert apis.bill().hung or usd == "0.02"  # which is spent after a few requests
    assert apis.bill().usd <= report.run.usd <= Decimal(usd)
    assert report.faults == []


@pytest.mark.parametrize("other", ["gpt-4o", "acme-vision-1"])
def test_once_a_dearer_model_answers_what_nobody_saw_the_end_of_is_booked_at_its_price(
    world: LabelWorld, apis: SimulatedLabelApis, other: str
) -> None:
    apis.rates = {}
    numbers = itertools.count(1)

    def reroute(text: str) -> LabelFault | None:
        number = next(numbers)
        if number <= 10:
            return None
        apis.books.rerouted["gpt-4o-mini"] = other
        return LabelFault.GATEWAY_TIMEOUT if number <= 18 else None  # billed at its price, and no answer names it

    apis.fault_of = reroute
    report = labelled(world, "openai", {"model": "gpt-4o-mini"})
    assert apis.bill().hung == 8
    assert apis.bill().usd <= report.run.usd <= 1
    assert report.run.assumed_requests >= 8
    assert bool(report.faults) == (other == "acme-vision-1")


def test_a_later_run_remembers_which_model_answers(world: LabelWorld, apis: SimulatedLabelApis) -> None:
    apis.rates = {}
    apis.books.rerouted["gpt-4o-mini"] = "gpt-4o"
    world.put(*(thread(number) for number in range(1, POSTS + 1)))
    labelled(world, "openai", {"model": "gpt-4o-mini"})
    world.put(*(thread(number) for number in range(POSTS + 1, POSTS + 11)))
    world.now += timedelta(days=1)
    before = apis.bill().usd
    apis.fault_of = lambda text: LabelFault.GATEWAY_TIMEOUT
    report = labelled(world, "openai", {"model": "gpt-4o-mini"})
    assert report.run.assumed_requests == apis.bill().hung
    assert apis.bill().usd - before <= report.run.usd <= 1


def test_a_batch_that_was_lost_is_booked_at_the_price_of_the_dearer_model_that_answers_the_next(
    world: LabelWorld,
) -> None:
    world.put(*(thread(number) for number in range(1, 21)))
    dearer = replace(OK, model_returned="gpt-4o-2024-08-06")

    def labels(provider: FakeBatches, per_run: int = 20) -> Report:
        return world.label(provider, labels={"per_run": per_run})

    provider = FakeBatches()
    labels(provider, 1)
    labels(provider, 1)  # the asked model answers
    provider.state_of_all = BatchState.GONE
    labels(provider, 10)
    labels(provider, 1)
    with world.ledger() as ledger:
        lost = ledger.spent()
    assert lost.assumed_requests >= 1
    provider.state_of_all, provider.say = BatchState.ENDED, lambda question, times: dearer
    for _ in range(3):
        labels(provider)
    with world.ledger() as ledger:
        after = ledger.spent()
    assert after.assumed_requests >= lost.assumed_requests
    assert after.assumed_usd > 10 * lost.assumed_usd


@pytest.mark.parametrize(
    ("version", "later"),
    [(1, ("sizes", "surcharges", "answering_models", "unreadable_batches")), (2, ("unreadable_batches",))],
)
def test_a_ledger_of_an_older_form_is_brought_up_to_date_and_counts_as_before(
    world: LabelWorld, version: int, later: tuple[str, ...]
) -> None:
    world.put(*(thread(number) for number in range(1, 6)))
    world.label(FakeProvider())
    with world.ledger() as ledger, ledger.transaction() as connection:
        before = budget.spent(connection)
        for table in later:
            connection.execute(f"DROP TABLE {table}")
        connection.execute(f"PRAGMA user_version = {version}")
    with world.ledger() as ledger:
        assert ledger.spent() == before
    world.put(thread(6))
    dearer = replace(OK, model_returned="gpt-4o-2024-08-06")
    assert world.label(FakeProvider(lambda question, times: dearer)).faults == []
    with world.ledger() as ledger:
        assert ledger.spent().known_requests == 6
    batches = FakeBatches(model="m2", state_of_all=BatchState.GONE)  # a batch that is looked for is noted there
    for _ in range(2):
        world.label(batches)
    with world.ledger() as ledger:
        assert ledger.spent().assumed_requests == 6


def test_an_answer_of_a_model_without_a_price_is_booked_at_the_dearest_and_stops_with_its_name(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    apis.books.rerouted["gpt-4o-mini"] = "acme-vision-1"
    report = labelled(world, "openai", {"model": "gpt-4o-mini"})
    assert apis.bill().usd <= report.run.usd
    (fault,) = report.faults
    assert "'acme-vision-1'" in fault
    assert '[openai.prices."acme-vision-1"]' in fault


def test_a_model_without_a_price_is_refused_by_name_before_anything_is_sent(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    (fault,) = labelled(world, "openai", {"model": "acme-vision-1"}).faults
    assert "no price for the model 'acme-vision-1'" in fault
    assert '[openai.prices."acme-vision-1"]' in fault
    assert apis.bill().requests == 0


def test_only_a_service_on_this_machine_may_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"model": "local", "prices": {"local": {"input": 0, "output": 0}}}
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(AutoLabelError, match="only a service on this machine"):
        terms(**free)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
    price = terms(**free).price
    assert price.cost(Usage(10**6, 10**6)) == 0
    assert cost.charged(replace(OK, model_returned="whatever.gguf"), terms(**free), 0).doubt is None


def test_older_settings_without_a_models_name_hold_unless_they_are_below_its_published_price() -> None:
    old = {"usd_per_million_input_tokens": "0.15", "usd_per_million_output_tokens": "0.60"}
    assert terms(**old).price.rates[:2] == (Decimal("0.15"), Decimal("0.60"))
    assert terms(model="acme-vision-1", **old).price.rates[:2] == (Decimal("0.15"), Decimal("0.60"))
    with pytest.raises(AutoLabelError, match="below the published price of gpt-4o "):
        terms(model="gpt-4o", **old)
    with pytest.raises(ValueError, match="must be set both"):
        terms(usd_per_million_input_tokens="0.15")


def test_a_price_changes_on_its_day_and_a_dated_id_has_the_price_of_its_model() -> None:
    before, after = (terms("gemini", day, model="gemini-3.8-flash").price for day in (TODAY, date(2027, 1, 1)))
    assert after == before.times(Decimal(2))
    assert terms(model="gpt-4o-mini-2024-07-18").price == terms(model="gpt-4o-mini").price


def test_twelve_silent_posts_name_the_status_and_the_beginning_of_the_body(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    apis.rates = {LabelFault.GATEWAY_TIMEOUT: 1.0}
    (fault,) = labelled(world, "openai", {"model": "gpt-4o-mini"}).faults
    assert "504" in fault
    assert "504 Gateway Time-out" in fault


def test_a_model_that_is_not_found_names_the_setting(world: LabelWorld, apis: SimulatedLabelApis) -> None:
    prices = {"nowhere": {"input": 1, "output": 1}}
    (fault,) = labelled(world, "openai", {"model": "nowhere", "prices": prices}).faults
    assert "correct `model` of [openai]" in fault


def test_a_fake_model_that_names_itself_is_no_other_model(world: LabelWorld) -> None:
    world.put(thread(1))
    assert world.label(FakeProvider()).faults == []


def test_a_rate_of_cached_input_below_that_of_input_was_read_on_the_vendors_page() -> None:
    table = tomllib.loads((files("bizcharts_pipeline.autolabel") / "prices.toml").read_text(encoding="utf-8"))["price"]
    assert {row["checked"] for row in table} == {"vendor", "tables"}
    for row in table:
        cheaper = Decimal(row["cached_input"]) < Decimal(row["input"])
        assert not cheaper or row["checked"] == "vendor", row["model"]
        assert Decimal(row["cache_write"]) >= Decimal(row["input"]), row["model"]


def test_a_price_of_the_settings_holds_for_every_dated_id_of_its_model() -> None:
    stated = {"gpt-4o-mini": {"input": 1, "output": 2}, "gpt-4o": {"input": 30, "output": 40}}
    asked = terms(model="gpt-4o-mini-2024-07-18", prices=stated)
    assert asked.price.rates[:2] == (Decimal(1), Decimal(2))
    answer = replace(OK, usage=Usage(1_000, 10), model_returned="gpt-4o-2024-08-06")
    assert cost.charged(answer, asked, 10**9).nano_usd == 1_000 * 30_000 + 10 * 40_000


def test_the_documents_table_of_costs_follows_from_the_published_prices() -> None:
    """650 tokens of text and 10 of answer a post, a picture for three of four."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "auto-labels.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (g[a-z0-9.-]+)[^|]*\| \$([0-9.]+)[^|]*\| \$([0-9.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 3
    for model, *stated in rows:
        name = "gemini" if model.startswith("gemini") else "openai"
        for endpoint, usd in zip(("chat", "batch"), stated, strict=True):
            known = cost.terms(Settings.model_validate({name: {"model": model}}), name, endpoint, TODAY)  # type: ignore[arg-type]
            tokens = 10_000 * 650 + 7_500 * known.image_tokens
            assert f"{known.price.cost(Usage(tokens, 10_000 * 10)):.2f}" == usd, (model, endpoint)
