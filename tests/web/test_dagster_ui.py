"""The Dagster UI in a real browser: it works for its operator, and no page of another origin can use it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from chromium import chromium
from installation import Installation
from playwright.sync_api import Browser, Page, Playwright, WebSocket
from ports import free_port
from ui_world import (
    LAUNCH,
    NAMES,
    Service,
    attack_page,
    attacker,
    limit,
    listening_ports,
    serving,
    unguarded,
    until,
)

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.demo.prices.server import SimulatedPrices

PASSWORD = "a-canary-as-a-password"
pytestmark = pytest.mark.timeout(900)
JOB = "fetch_reference_index"
SENT = (
    *(name for name in NAMES if name != "json"),  # of which only the question whether it may be sent arrives
    *(
        "OPTIONS /graphql",
        "/report_asset_materialization/attacked",
        "GET /graphql websocket",
        "server_info",
        "launchRun",
    ),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with SimulatedPrices(now=utc_now()) as prices:
        installation = Installation(tmp_path_factory.mktemp("service"), "http://127.0.0.1:9")
        sources = ("COINGECKO", "BINANCE", "COINMARKETCAP", "ALTERNATIVE_ME")
        installation.extra |= {f"BIZCHARTS_{name}_URL": prices.url for name in sources}
        installation.extra["BIZCHARTS_WAROSU_URL"] = "http://127.0.0.1:9"
        with serving(installation) as service:
            yield service


@pytest.fixture(scope="module")
def rebinding_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser in which the names of an attacker lead to this machine."""
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP *.example 127.0.0.1", "--disable-popup-blocking"]
    opened = playwright.chromium.launch(executable_path=chromium(), args=arguments)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["evil.example", "localhost"])
def test_a_page_of_another_origin_neither_reads_nor_launches_nor_configures(
    service: Service, rebinding_browser: Browser, origin: str
) -> None:
    """From another site, and from another port of the same host."""
    with attacker() as server:
        targets = [service.url, f"http://localhost:{service.port}", f"http://127.0.0.1:{server.port}"]
        server.page = attack_page(targets)
        page = rebinding_browser.new_context().new_page()
        page.goto(f"http://{origin}:{server.port}/attack")
        page.wait_for_function("window.done", timeout=60_000)
        until(lambda: all(name in "".join(server.seen) for name in SENT), 30)  # the browser did send it all
        assert page.evaluate("window.got") == []
        assert page.evaluate("window.opened") == []
        page.context.close()
    assert service.limits() & set(NAMES) == set()
    assert service.runs(JOB) == []
    assert service.materializations("attacked") == 0
    assert service.schedule_states() == {"RUNNING"}


@pytest.mark.slow
def test_the_same_page_does_configure_a_web_server_that_is_not_guarded(
    rebinding_browser: Browser, tmp_path: Path
) -> None:
    with attacker() as server, unguarded(tmp_path) as bare:
        server.page = attack_page([bare.url])
        page = rebinding_browser.new_context().new_page()
        page.goto(f"http://evil.example:{server.port}/attack")
        sent_by_any_page = set(NAMES) - {"iframe", "prefetch", "json"}  # which Dagster itself does not run
        until(lambda: sent_by_any_page <= bare.limits(), 60)
        page.wait_for_function("window.opened.length", timeout=60_000)
        page.context.close()


@pytest.mark.slow
def test_no_other_port_of_the_service_listens(service: Service) -> None:
    """A second one, as of a web server behind a proxy or of the code server, could be asked by a page."""
    assert listening_ports(service.pid) == {service.port}


@pytest.mark.slow
def test_a_rebound_name_gets_nothing(service: Service, rebinding_browser: Browser) -> None:
    page = rebinding_browser.new_context().new_page()
    answer = page.goto(f"http://rebound.example:{service.port}/server_info")
    assert answer is not None
    assert answer.status == 421
    assert "1.13" not in page.content()
    status = page.evaluate(
        "query => fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        "body: JSON.stringify({query})}).then(r => r.status)",
        LAUNCH,
    )
    assert status == 421
    opened = page.evaluate(
        "port => new Promise(done => { const ws = new WebSocket(`ws://rebound.example:${port}/graphql`, 'graphql-ws');"
        "ws.onopen = () => done(true); ws.onerror = () => done(false); })",
        service.port,
    )
    assert opened is False
    assert service.runs(JOB) == []
    page.context.close()


@pytest.mark.slow
def test_the_ui_cannot_be_framed_by_another_page(service: Service, rebinding_browser: Browser) -> None:
    with attacker() as server:
        server.page = f'<!doctype html><iframe src="{service.url}/runs"></iframe>'
        page = rebinding_browser.new_context().new_page()
        page.goto(f"http://evil.example:{server.port}/attack")
        page.wait_for_load_state("networkidle")
        assert "Dagster" not in "".join(frame.content() for frame in page.frames[1:])
        page.context.close()


@pytest.mark.slow
def test_a_link_of_another_site_opens_a_page_of_the_ui(service: Service, rebinding_browser: Browser) -> None:
    with attacker() as server:
        server.page = f'<!doctype html><a href="{service.url}/runs">a run</a>'
        page = rebinding_browser.new_context().new_page()
        page.goto(f"http://evil.example:{server.port}/attack")
        with page.expect_navigation(url="**/runs**"):
            page.click("a")
        assert "Dagster" in page.content()
        page.context.close()


@pytest.mark.slow
def test_the_ui_works_it_loads_launches_a_run_and_follows_it(service: Service, rebinding_browser: Browser) -> None:
    """After the attacks: what they tried works from the UI's own origin."""
    page: Page = rebinding_browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    frames: list[str] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: frames.append(str(payload)))

    page.on("websocket", watch)
    page.goto(f"{service.url}/locations/bizcharts/jobs/{JOB}")
    page.get_by_role("button", name="Materialize").first.click(timeout=60_000)
    until(lambda: len(service.runs(JOB)) == 1, 60)
    run = service.runs(JOB)[0]["runId"]
    page.goto(f"{service.url}/runs/{run}")
    until(lambda: service.runs(JOB)[0]["status"] in ("SUCCESS", "FAILURE"), 180)
    assert service.runs(JOB)[0]["status"] == "SUCCESS"
    deadline = time.monotonic() + 60
    while not any('"type":"data"' in each.replace(" ", "") for each in frames):  # a subscription brings the run's log
        assert time.monotonic() < deadline, frames[-3:]
        page.wait_for_timeout(300)
    assert (
        page.evaluate(
            "query => fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            "body: JSON.stringify({query})}).then(r => r.status)",
            limit("own"),
        )
        == 200
    )
    assert "own" in service.limits()
    page.context.close()


def is_open(service: Service) -> bool:
    try:
        return service.send("{version}").status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_the_ui_for_viewers_shows_and_changes_nothing(tmp_path: Path) -> None:
    installation, port, others = Installation(tmp_path, "http://127.0.0.1:9"), free_port(), "viewers only, please"
    installation.extra |= {
        "BIZCHARTS_UI_PASSWORD": PASSWORD,
        "BIZCHARTS_VIEWER_PASSWORD": others,
        "BIZCHARTS_SERVE__VIEWER_PORT": str(port),
    }
    with serving(installation) as service:
        viewers = Service(installation, port, {"Authorization": f"Bearer {others}"})
        until(lambda: is_open(viewers), 60)
        assert viewers.schedule_states() == service.schedule_states()
        for change in (LAUNCH, 'mutation{deleteRun(runId:"x"){__typename}}', limit("viewer")):
            assert "Unauthorized" in viewers.send(change).text
        assert viewers.runs("fetch_reference_index") == []
        assert "viewer" not in service.limits()
        service.headers, viewers.headers = viewers.headers, service.headers
        assert (is_open(service), is_open(viewers)) == (False, False)


@pytest.mark.slow
def test_with_a_password_the_ui_asks_for_it_and_then_works(
    rebinding_browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As a developer starts it: the log is long, and the password still in no log and no argument list."""
    installation = Installation(tmp_path_factory.mktemp("login"), "http://127.0.0.1:9")
    written = installation.folder / "settings.toml"
    written.write_text('archive_start = "2024-01-01"\n')
    installation.extra |= {"BIZCHARTS_UI_PASSWORD": PASSWORD, "BIZCHARTS_SETTINGS_FILE": str(written)}
    with serving(installation, "--dev") as service:
        page = rebinding_browser.new_context().new_page()
        page.goto(f"{service.url}/runs")
        assert "Dagster" not in page.content()
        page.get_by_label("Password").fill("another password")
        page.get_by_role("button").click()
        page.get_by_text("Wrong password.").wait_for()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button").click()
        with page.expect_websocket(timeout=60_000) as opened:
            page.goto(f"{service.url}/assets/warosu_posts")
        assert "/graphql" in opened.value.url
        page.get_by_text("warosu_posts").first.wait_for(timeout=60_000)
        assert page.evaluate("document.cookie") == ""
        page.context.close()

        assert "answers 200" in installation.run_command("health").stdout
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                assert PASSWORD.encode() not in command.read_bytes()
        assert PASSWORD not in (installation.folder / "service.log").read_text()

        days = '{assetNodeOrError(assetKey:{path:["warosu_posts"]}){... on AssetNode{partitionStats{numPartitions}}}}'
        before = service.ask(days)["assetNodeOrError"]["partitionStats"]["numPartitions"]
        written.write_text('archive_start = "2024-01-11"\n')
        service.ask('mutation{reloadRepositoryLocation(repositoryLocationName:"bizcharts"){__typename}}')
        until(lambda: service.ask(days)["assetNodeOrError"]["partitionStats"]["numPartitions"] == before - 10, 60)
    kept = [path for path in installation.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]
