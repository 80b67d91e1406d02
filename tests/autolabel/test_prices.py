"""Prices belong to models: whatever is asked and whoever answers, what is booked covers the bill."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from autolabel_world import OK, FakeProvider, LabelWorld, thread

from bizcharts_pipeline.autolabel import cost
from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import Usage
from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.autolabel.report import Report
from bizcharts_pipeline.demo.label_apis import SimulatedLabelApis
from bizcharts_pipeline.demo.label_wire import LabelFault
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
    assert bill.hung
    assert bill.answered
    assert bill.usd <= report.run.usd <= Decimal(usd)
    assert report.faults == []


def test_an_id_that_is_answered_by_a_dearer_model_is_booked_at_that_models_price(
    world: LabelWorld, apis: SimulatedLabelApis
) -> None:
    apis.rates = {}
    apis.books.rerouted["gpt-4o-mini"] = "gpt-4o"
    report = labelled(world, "openai", {"model": "gpt-4o-mini"})
    assert apis.bill().usd <= report.run.usd <= 1
    assert report.faults == []


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
