"""The simulated price hosts answer, and refuse, in the shapes of the real ones."""

from collections.abc import Iterator
from datetime import datetime

import pytest
import requests

from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.server import Fault

NOW = datetime(2026, 3, 2, 12, 7)


@pytest.fixture
def hosts() -> Iterator[SimulatedPrices]:
    with SimulatedPrices(now=NOW) as server:
        yield server


def test_prices_are_one_walk_that_every_host_and_every_start_sees(hosts: SimulatedPrices) -> None:
    simple = requests.get(f"{hosts.url}/api/v3/simple/price?ids=bitcoin&vs_currencies=usd").json()
    ticker = requests.get(f"{hosts.url}/api/v3/ticker/price?symbolStatus=TRADING").json()
    binance = next(float(entry["price"]) for entry in ticker if entry["symbol"] == "BTCUSDT")
    assert binance == pytest.approx(simple["bitcoin"]["usd"], rel=1e-3)
    assert SimulatedPrices(now=NOW).price("BTC", NOW) == hosts.price("BTC", NOW)
    assert SimulatedPrices(8, now=NOW).price("BTC", NOW) != hosts.price("BTC", NOW)


def test_a_list_of_pairs_with_an_unlisted_one_is_refused_whole_and_a_delisted_pair_shows_its_last_price(
    hosts: SimulatedPrices,
) -> None:
    url = f"{hosts.url}/api/v3/ticker/price"
    refused = requests.get(url, params={"symbols": '["BTCUSDT","NOSUCHUSDT"]'})
    assert (refused.status_code, refused.json()["code"]) == (400, -1121)
    stale = requests.get(url, params={"symbols": '["XMRUSDT"]'}).json()
    assert float(stale[0]["price"]) == pytest.approx(hosts.price("XMR", datetime(2024, 2, 20)), abs=1e-6)
    traded = requests.get(url, params={"symbolStatus": "TRADING"}).json()
    assert "XMRUSDT" not in {entry["symbol"] for entry in traded}


def test_each_host_fails_by_itself(hosts: SimulatedPrices) -> None:
    binance, gecko = f"{hosts.url}/api/v3/ticker/price", f"{hosts.url}/api/v3/simple/price?ids=bitcoin"
    hosts.troubles = {"binance": 451, "alternative.me": Fault.HTML}
    assert requests.get(binance).status_code == 451
    assert requests.get(gecko).status_code == 200
    assert requests.get(f"{hosts.url}/fng/").text.startswith("<!DOCTYPE html>")
    hosts.troubles = {"coingecko": 429}
    hosts.retry_after = "30"
    limited = requests.get(gecko)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "30")
    assert requests.get(binance).status_code == 200
    assert requests.get(f"{hosts.url}/v3/cryptocurrency/quotes/latest?id=1").status_code == 401
