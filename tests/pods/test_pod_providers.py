"""Whoever rents out pods is asked, understood and never believed too early."""

import getpass
import json
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.demo.pods.control import PodControl
from bizcharts_pipeline.demo.pods.faults import PodFault, PodFaults
from bizcharts_pipeline.demo.pods.sshd import start_sshd
from bizcharts_pipeline.http.deadline import cut_off_after
from bizcharts_pipeline.pods import keys, remote
from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    ApiGone,
    NoCapacity,
    OrderRefused,
    OutOfFunds,
    OutOfTime,
    PodError,
    Uncertain,
)
from bizcharts_pipeline.pods.every_provider import reap_everywhere
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.protocol import PUBLIC_KEY, Candidate, Job, Order, Pod, PodStatus, Provider
from bizcharts_pipeline.pods.providers import open_provider, runpod_rest
from bizcharts_pipeline.pods.providers.answers import pod_of, pods_of, price_of
from bizcharts_pipeline.pods.providers.own_host import OwnHost
from bizcharts_pipeline.pods.providers.rest import Busy
from bizcharts_pipeline.pods.providers.runpod_rest import RunPodRest
from bizcharts_pipeline.settings import PodSettings, Settings

GPU = "NVIDIA GeForce RTX 4090"
SECRET = "hf-very-secret-token"
KEY = "rpa_the_accounts_own_key"
DIALECTS = ("graphql", "rest")


def order(name: str = "bizcharts-abc", **changes: Any) -> Order:
    plain = Order(
        name=name,
        candidate=Candidate(GPU, "COMMUNITY", None),
        image="runpod/pytorch:1.0",
        container_disk_gb=60,
        volume_gb=0,
        network_volume=None,
        cuda=("13.0",),
        environment={PUBLIC_KEY: "ssh-ed25519 AAAA someone", "TOKEN": SECRET},
        start_command="",
    )
    return replace(plain, **changes)


def provider_of(dialect: str) -> Provider:
    return open_provider(Settings(pods=PodSettings(api=dialect)))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodControl]:
    with PodControl(
        tmp_path / "cloud", PodFaults(hang_seconds=0.05, page_pods=2, lag_seconds=(0.5, 0.6)), account_key=KEY
    ) as plane:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", plane.url)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        yield plane


@pytest.fixture(params=DIALECTS)
def provider(request: pytest.FixtureRequest, control: PodControl) -> Provider:
    return provider_of(request.param)


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


# The two dialects.


@pytest.mark.parametrize("creator", DIALECTS)
def test_both_dialects_tell_the_same_pod_in_every_phase_of_its_life(control: PodControl, creator: str) -> None:
    graphql, rest = provider_of("graphql"), provider_of("rest")
    created = provider_of(creator).create(order())
    assert (created.status, created.name, created.gpu) == (PodStatus.STARTING, "bizcharts-abc", "RTX 4090")
    seen: list[Pod] = []

    def reachable() -> bool:
        told = graphql.get(created.pod_id)
        other, listed = rest.get(created.pod_id), (*graphql.find("bizcharts-"), *rest.find("bizcharts-"))
        if told != graphql.get(created.pod_id):
            return False  # it went on meanwhile
        assert told is not None
        assert {told, other, *listed} == {told}
        if told not in seen:
            seen.append(told)
        return told.address is not None

    until(reachable)
    assert (seen[0].status, seen[0].address) == (PodStatus.STARTING, None)
    assert {pod.machine for pod in seen} == {created.machine}
    assert seen[-1].usd_per_hour == Decimal("0.34")
    until(lambda: control.cloud.pods()[0].machine.boots)
    control.cloud.pods()[0].machine.exit()
    ended = graphql.get(created.pod_id)
    assert ended is not None
    assert ended == rest.get(created.pod_id)
    assert (ended.status, ended.address, ended.usd_per_hour) == (PodStatus.ENDED, None, None)


def test_an_order_arrives_alike_in_both_dialects(control: PodControl) -> None:
    wanted = order(start_command="bash -c 'exec bash <(echo ZWNobyBoaQ== | base64 -d)'", container_disk_gb=70)
    for dialect in DIALECTS:
        provider_of(dialect).create(wanted)
    first, second = control.cloud.orders
    assert first == second
    assert first.start_command == wanted.start_command
    assert (first.cloud, first.disk_gb, first.ports) == ("COMMUNITY", 70, ("22/tcp",))
    assert first.environment == wanted.environment


def test_prices_are_those_of_the_cloud_and_exact(provider: Provider) -> None:
    assert provider.usd_per_hour(Candidate(GPU, "COMMUNITY", None)) == Decimal("0.34")
    assert provider.usd_per_hour(Candidate(GPU, "SECURE", None)) == Decimal("0.69")
    assert provider.usd_per_hour(Candidate("NVIDIA L4", "COMMUNITY", None)) is None
    with pytest.raises(OrderRefused):
        provider.usd_per_hour(Candidate("NVIDIA Nonsense", "SECURE", None))


def test_only_pods_of_the_prefix_are_found_the_oldest_first(provider: Provider, control: PodControl) -> None:
    names = ["bizcharts-b", "other-a", "bizcharts-a"]
    for age, name in enumerate(names):
        created = control.cloud.get(provider.create(order(name)).pod_id)
        assert created is not None
        created.created_at = created.created_at.replace(year=2026 - age)
    assert [pod.name for pod in provider.find("bizcharts-")] == ["bizcharts-a", "bizcharts-b"]


def test_a_pod_is_ended_once_and_for_all(provider: Provider, control: PodControl) -> None:
    pod = provider.create(order())
    assert provider.terminate(pod.pod_id) is True
    assert provider.get(pod.pod_id) is None
    assert provider.find("") == []
    assert provider.terminate(pod.pod_id) is False
    assert provider.terminate("neverthere") is False


@pytest.mark.parametrize(
    ("fault", "left"), [(PodFault.CREATE_FAILS, 0), (PodFault.CREATE_LANDS, 1), (PodFault.CREATE_HANGS, 1)]
)
def test_an_order_that_failed_may_have_landed_and_is_found_by_name(
    provider: Provider, control: PodControl, fault: PodFault, left: int
) -> None:
    control.fail_next(fault)
    with pytest.raises(Uncertain):
        provider.create(order())
    assert [pod.name for pod in provider.find("bizcharts-abc")] == ["bizcharts-abc"] * left


@pytest.mark.parametrize(("fault", "left"), [(PodFault.TERMINATE_FAILS, 1), (PodFault.TERMINATE_LANDS, 0)])
def test_an_end_that_was_answered_with_an_error_is_uncertain(
    provider: Provider, control: PodControl, fault: PodFault, left: int
) -> None:
    pod = provider.create(order())
    control.fail_next(fault)
    with pytest.raises(Uncertain):
        provider.terminate(pod.pod_id)
    assert len(provider.find("")) == left


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        (PodFault.API_429, Uncertain),
        (PodFault.API_500, Uncertain),
        (PodFault.API_410, Uncertain),
        (PodFault.API_401, AccessDenied),
    ],
)
def test_a_bad_spell_is_never_taken_for_a_pods_end(
    provider: Provider, control: PodControl, fault: PodFault, meaning: type[PodError]
) -> None:
    pod = provider.create(order())
    for question in (lambda: provider.get(pod.pod_id), lambda: provider.find("")):
        control.fail_next(fault)
        answer: object
        try:
            answer = question()
        except PodError as error:
            answer = type(error)
        assert answer is meaning or isinstance(answer, Pod | list)
        assert answer
    assert provider.get(pod.pod_id) is not None


def test_every_page_of_the_list_is_read(provider: Provider, control: PodControl) -> None:
    names = {f"bizcharts-{number}" for number in range(5)}
    for name in sorted(names):
        provider.create(order(name))
    assert {pod.name for pod in provider.find("")} == names
    assert {pod.name for pod in provider.find("bizcharts-4")} == {"bizcharts-4"}


@pytest.mark.parametrize(("fault", "hidden"), [(PodFault.LATE_GET, "get"), (PodFault.LATE_LIST, "find")])
def test_each_way_to_ask_learns_of_a_new_pod_on_its_own(
    provider: Provider, control: PodControl, fault: PodFault, hidden: str
) -> None:
    control.fail_next(fault)
    pod = provider.create(order())
    shown = {"get": provider.get(pod.pod_id) is not None, "find": bool(provider.find(""))}
    assert shown == {"get": hidden != "get", "find": hidden != "find"}
    if hidden == "get":
        assert provider.terminate(pod.pod_id) is False
        assert control.bill().alive == 1
    until(lambda: provider.get(pod.pod_id) and provider.find(""))
    assert provider.terminate(pod.pod_id) is True
    assert control.bill().alive == 0


def test_what_a_pod_is_charged_is_read_where_it_is_told(provider: Provider, control: PodControl) -> None:
    control.fail_next(PodFault.DEARER)
    pod = provider.create(order())
    told = provider.get(pod.pod_id)
    assert told is not None
    assert told.usd_per_hour == Decimal("0.51") == control.bill().charges[0].usd_per_hour
    assert pod.usd_per_hour in (None, told.usd_per_hour)


@pytest.mark.parametrize("status", [410, 404])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_where_an_api_is_gone_the_other_one_goes_on_with_the_same_pods_and_says_so(
    control: PodControl, dialect: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    asked = provider_of(dialect)
    pod = asked.create(order())
    control.retire(dialect, status)
    assert [found.pod_id for found in asked.find("")] == [pod.pod_id]
    assert "switched off" in caplog.text
    found = asked.get(pod.pod_id)
    assert found is not None
    assert found.machine == pod.machine
    assert asked.terminate(pod.pod_id) is True
    assert asked.get(pod.pod_id) is None
    other = next(one for one in DIALECTS if one != dialect)
    control.retire(other, status)
    for question in (lambda: asked.find(""), lambda: asked.usd_per_hour(order().candidate)):
        with pytest.raises(ApiGone):
            question()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_order_to_an_api_that_is_gone_is_uncertain_and_goes_to_the_other_one_next(
    control: PodControl, dialect: str
) -> None:
    asked = provider_of(dialect)
    control.retire(dialect)
    with pytest.raises(Uncertain, match="other API"):
        asked.create(order())
    assert asked.create(order()).name == "bizcharts-abc"
    assert len(control.bill().charges) == 1


def test_one_pod_that_is_not_there_is_no_api_that_is_gone(provider: Provider, control: PodControl) -> None:
    assert provider.get("neverthere") is None
    calls = dict(control.api_calls)
    assert provider.get("neverthere") is None
    assert sum(before != after for before, after in zip(calls.values(), control.api_calls.values(), strict=True)) == 1


def test_what_the_sdk_would_garble_is_never_sent(provider: Provider, control: PodControl) -> None:
    before = dict(control.api_calls)
    bad = [
        {"environment": {"TOKEN": f'{SECRET}"'}},
        {"environment": {"TOKEN": f"{SECRET}\n"}},
        {"environment": {"A B": "x"}},
        {"environment": {f"V{number}": "" for number in range(51)}},
        {"start_command": 'bash -c "true"'},
        {"image": "a\\b"},
        {"name": "Not a name"},
        {"candidate": Candidate(GPU, "ALL", None)},
    ]
    for changes in bad:
        with pytest.raises(OrderRefused) as refused:
            provider.create(order(**changes))
        assert SECRET not in str(refused.value)
    assert control.api_calls == before


# What failures mean.

Page = tuple[int, str, bytes]
RESET: Page = (0, "", b"")


class _Scripted(BaseHTTPRequestHandler):
    """Knows one GPU, and answers everything else as it is told."""

    page: Page = (200, "", b"")
    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(self.path)
        status, kind, content = self.page
        if b"gpuTypes" in body:
            status, kind, content = 200, "application/json", b'{"data":{"gpuTypes":[{"id":"x"}]}}'
        if status == 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) + (10 if kind == "short" else 0)))
        if status == 429:
            self.send_header("Retry-After", "12")
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = kind == "short"

    do_GET = do_DELETE = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def scripted(page: Page) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (_Scripted,), {"page": page, "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(message: str, status: int = 200) -> Page:
    return status, "application/json", json.dumps({"errors": [{"message": message}], "data": None}).encode()


def problem(status: int, **more: Any) -> Page:
    body = {"title": "Bad", "status": status, "detail": f"because {status}", **more}
    return status, "application/problem+json", json.dumps(body).encode()


HTML: Page = (502, "text/html", b"<html>Bad Gateway</html>")
AGAIN = "Please refresh and try again."
FAILURES: list[tuple[str, Page, type[PodError]]] = [
    (
        "graphql",
        told(f"There are no longer any instances available with the requested specifications. {AGAIN}"),
        NoCapacity,
    ),
    ("graphql", told("There are no longer any instances available with the request specifications."), NoCapacity),
    ("graphql", told("There are no longer any instances available with enough disk space."), NoCapacity),
    ("graphql", told("There are not enough free GPUs on the host machine to start this pod."), NoCapacity),
    ("graphql", told("Something went wrong. Please try again later or contact support."), Uncertain),
    ("graphql", told("Something went wrong. Please try again later or contact support.", 500), Uncertain),
    ("graphql", told("No instances."), Uncertain),
    ("graphql", told("You have insufficient funds to rent this pod."), OutOfFunds),
    ("graphql", told('Syntax Error: Expected Name, found String "x".', 400), OrderRefused),
    ("graphql", (401, "text/plain", b"Unauthorized"), AccessDenied),
    ("graphql", (429, "text/plain", b"Too Many Requests"), Uncertain),
    ("graphql", HTML, Uncertain),
    ("graphql", (500, "text/plain", b"oops"), Uncertain),
    ("graphql", problem(410), Uncertain),
    ("graphql", (200, "application/json", b'{"data":{"podFindAndDeployOnDemand":null}}'), Uncertain),
    ("graphql", (200, "application/json", b'{"data":null}'), Uncertain),
    ("graphql", (200, "application/json", b'{"data":{"podFindAndDeployOnDemand":{"id":null}}}'), Uncertain),
    ("graphql", RESET, Uncertain),
    ("rest", problem(400), NoCapacity),
    ("rest", problem(400, errors=["gpu.id: unknown"]), OrderRefused),
    ("rest", problem(401), AccessDenied),
    ("rest", problem(402), OutOfFunds),
    ("rest", problem(403), NoCapacity),
    ("rest", problem(404), Uncertain),
    ("rest", (404, "text/html", b"<html>a wall in between</html>"), Uncertain),
    ("rest", problem(410), Uncertain),
    ("rest", problem(422), OrderRefused),
    ("rest", problem(429), Busy),
    ("rest", problem(500), Uncertain),
    ("rest", HTML, Uncertain),
    ("rest", (403, "text/html", b"<html>a wall in between</html>"), AccessDenied),
    ("rest", (400, "text/html", b"<html>a wall in between</html>"), Uncertain),
    ("rest", (302, "text/plain", b""), Uncertain),
    ("rest", (201, "application/json", b"{}"), Uncertain),
    ("rest", (201, "application/json", b"not json"), Uncertain),
    ("rest", (201, "application/json", b"[" * 100_000), Uncertain),
    ("rest", (201, "short", b'{"id":"abc"}'), Uncertain),
    ("rest", (201, "application/json", b'{"id":"abc"}' + b" " * 8 * 1024 * 1024), Uncertain),
    ("rest", RESET, Uncertain),
]


@pytest.mark.parametrize(("dialect", "page", "meaning"), FAILURES)
def test_a_failed_order_means_what_it_proves_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, dialect: str, page: Page, meaning: type[PodError]
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted(page) as (url, seen):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        asked = provider_of(dialect)
        waits: list[float] = []
        if dialect == "rest":
            monkeypatch.setattr(asked._provider._api, "_sleep", waits.append)  # type: ignore[attr-defined]
        with pytest.raises(PodError) as failed:
            asked.create(order())
    assert type(failed.value) is meaning
    shown = "".join(traceback.format_exception(failed.value)) + repr(vars(asked)) + repr(order())
    assert KEY not in shown
    assert SECRET not in shown
    assert "/elsewhere" not in seen
    if isinstance(failed.value, Busy):
        assert failed.value.retry_after == 12
        assert waits == [12, 12, 12]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nobody_there_is_uncertain(monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        with pytest.raises(Uncertain):
            provider_of(dialect).find("")


PAGE = {"id": "abc", "name": "bizcharts-abc"}
UNREADABLE: list[Any] = [
    *({"pods": [PAGE], "nextCursor": "x"}, {"pods": [PAGE], "pagination": None}, {"pods": [PAGE], "pagination": {}}),
    {"pods": [PAGE], "pagination": {"hasNextPage": True, "nextCursor": None}},
    {"pods": [PAGE], "pagination": {"hasNextPage": True, "nextCursor": "the same for ever"}},
    *({"items": []}, {"pods": None}, {"pods": {}}, [], None, {"pods": [None]}, {"pods": ["abc"]}, {"pods": [{}]}),
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_a_list_that_cannot_be_read_to_its_end_is_an_error_and_never_none(
    monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted((200, "application/json", json.dumps(body).encode())) as (url, _):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        with pytest.raises(Uncertain):
            provider_of("rest").find("")


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>hello</html>", b"[]", b"{}", b'{"data":{"myself":null}}', b'{"data":{"myself":{}}}'),
        *(b'{"data":{"myself":{"pods":%s}}}' % pods for pods in (b"{}", b"null", b"[null]", b'["abc"]', b"[{}]")),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_of_another_shape_is_an_error_in_both_dialects(
    monkeypatch: pytest.MonkeyPatch, dialect: str, body: bytes
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted((200, "text/html", body)) as (url, _):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        with pytest.raises(Uncertain):
            provider_of(dialect).find("")


def test_the_list_of_august_without_pages_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted((200, "application/json", json.dumps({"pods": [PAGE]}).encode())) as (url, _):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        assert [pod.pod_id for pod in provider_of("rest").find("")] == ["abc"]


@pytest.mark.parametrize(
    "page", [(404, "text/html", b"<html>Not Found</html>"), (200, "text/html", b"<html>OK</html>")]
)
def test_a_page_in_between_neither_ends_a_pod_nor_says_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted(page) as (url, _):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        asked = provider_of("rest")
        for question in (lambda: asked.get("abc"), lambda: asked.terminate("abc")):
            with pytest.raises(Uncertain):
                question()


@pytest.mark.parametrize(
    ("dialect", "page"),
    [
        ("rest", problem(400, detail=f"no such image for {SECRET}")),
        ("rest", (403, "text/html", f"<html><b>no such image</b> for {SECRET} and {KEY}</html>".encode())),
        ("graphql", told(f"no such image for {SECRET}")),
    ],
)
def test_the_words_of_a_refusal_are_shown_without_secrets(
    monkeypatch: pytest.MonkeyPatch, dialect: str, page: Page
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with scripted(page) as (url, _):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        with pytest.raises(PodError, match=r"no such image.* for <TOKEN>") as refused:
            provider_of(dialect).create(order())
    assert KEY not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_too_many_requests_are_repeated_after_the_wait_that_the_answer_asks_for(
    control: PodControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    asked = RunPodRest(sleep=waits.append)
    control.fail_next(PodFault.API_429, PodFault.API_429)
    assert asked.create(order()).name == "bizcharts-abc"
    assert waits == [1, 1]
    with scripted((429, "text/plain", b"Too Many Requests")) as (url, seen):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        with pytest.raises(Busy):
            asked.find("")
        assert len(seen) == 4
    assert waits == [1, 1, 12, 12, 12]


def test_a_wait_that_is_asked_for_is_cut_short_by_whoever_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(seconds: float) -> None:
        raise OutOfTime(f"no time for {seconds:g} s")

    with scripted((429, "text/plain", b"Too Many Requests")) as (url, seen):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        monkeypatch.setenv("RUNPOD_API_KEY", "key")
        with pytest.raises(OutOfTime, match="no time for 12 s"):
            open_provider(Settings(), "runpod", no_time).find("")
        assert len(seen) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_that_nobody_answers_is_cut_off_when_the_time_of_whoever_asks_is_over(
    monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.2)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("RUNPOD_API_KEY", "key")
        asked = provider_of(dialect)
        with cut_off_after(0.5):
            with pytest.raises(Uncertain):
                asked.find("")
            silent.accept()[0].close()
            with pytest.raises(Uncertain):
                asked.find("")
            with pytest.raises(TimeoutError):
                silent.accept()


@pytest.mark.timeout(30)
def test_the_reaper_s_time_bounds_a_request_that_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("RUNPOD_API_KEY", "key")
        ledger = PodLedger(tmp_path / "pods.sqlite")
        report = reap_everywhere(Settings(), ledger, lambda: datetime(2026, 11, 3), lambda run_id: False, 0.5)
    assert report is not None
    (trouble,) = report.failed
    assert "incomplete or missing response" in trouble


def test_an_order_asks_for_a_lowest_cuda_version_and_takes_newer_ones() -> None:
    body = runpod_rest._body(order(cuda=("13.1", "12.10", "13.0")))
    assert body["gpu"] == {"id": GPU, "count": 1, "minCudaVersion": "12.10"}
    assert "minCudaVersion" not in runpod_rest._body(order(cuda=()))["gpu"]


def test_what_is_missing_is_named_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    for dialect in DIALECTS:
        with pytest.raises(AccessDenied, match="set RUNPOD_API_KEY"):
            provider_of(dialect)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    for url in ("ftp://x", "http://user:secret@host", "nonsense"):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
        with pytest.raises(AccessDenied, match="RUNPOD_API_BASE_URL") as refused:
            provider_of("rest")
        assert "secret" not in str(refused.value)
    monkeypatch.delenv("RUNPOD_API_BASE_URL")
    monkeypatch.setitem(sys.modules, "runpod", None)
    with pytest.raises(AccessDenied, match="make install-pods"):
        provider_of("graphql")
    with pytest.raises(AccessDenied, match=r"pods\.ssh_host"):
        open_provider(Settings(pod_provider="ssh"))
    with pytest.raises(AccessDenied, match=r"pods\.ssh_key"):
        open_provider(Settings(pod_provider="ssh", pods=PodSettings(ssh_host="gpu", ssh_key=tmp_path / "none")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *(
        "id",
        "name",
        "status",
        "desiredStatus",
        "runtime",
        "ports",
        "ssh",
        "direct",
        "proxy",
        "host",
        "port",
        "username",
    ),
    *("ip", "public", "private", "publicPort", "privatePort", "isIpPublic", "machine", "machineId", "gpu", "cost"),
    *("gpuDisplayName", "costPerHr", "createdAt", "lastStatusChange", "price", "secure", "securePrice"),
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["RUNNING", "EXITED", "TERMINATED", 22, "2026-01-01", "Jan 01 2026 10:00:00 GMT+0000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.slow
@given(answer=SHAPED)
def test_no_answer_whatsoever_breaks_more_than_certainty(answer: Any) -> None:
    for read in (pod_of, lambda told: pods_of([told], ""), lambda told: price_of(told, "SECURE")):
        try:
            read(answer)
        except Uncertain:
            continue


# Hosts of one's own.


@pytest.fixture(params=["ssh", "local"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnHost]:
    if request.param == "local":
        yield open_provider(Settings(pod_provider="local", home=tmp_path / "home"))  # type: ignore[misc]
        return
    public = keys.make_keys(tmp_path / "keys")
    environment = {"BIZCHARTS_WORKSPACE": str(tmp_path / "host"), "HOME": str(tmp_path)}
    sshd = start_sshd(tmp_path / "sshd", public, environment)
    kind, key = (tmp_path / "sshd" / "host_key.pub").read_text().split()[:2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    settings = PodSettings(
        ssh_host="127.0.0.1",
        ssh_port=sshd.port,
        ssh_user=getpass.getuser(),
        ssh_key=tmp_path / "keys" / keys.PRIVATE_KEY,
        ssh_known_hosts=tmp_path / "known",
    )
    try:
        yield open_provider(Settings(pod_provider="ssh", pods=settings))  # type: ignore[misc]
    finally:
        sshd.kill()


def test_a_host_of_ones_own_keeps_pods_as_names(own: OwnHost) -> None:
    assert own.find("") == []
    assert own.usd_per_hour(Candidate(GPU, "SECURE", None)) == 0
    first = own.create(order("bizcharts-b"))
    time.sleep(0.02)
    second = own.create(order("bizcharts-a"))
    assert own.find("bizcharts-") == [first, second]
    assert own.find("other") == []
    assert own.get(first.pod_id) == first
    assert first.usd_per_hour == 0
    own.terminate(first.pod_id)
    own.terminate(first.pod_id)
    assert own.get(first.pod_id) is None
    assert own.find("") == [second]


@pytest.mark.slow
def test_ending_a_pod_on_a_host_of_ones_own_ends_its_job_and_leaves_no_folder(own: OwnHost, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.sh").write_text("touch running; sleep 1000 & sleep 1000")
    job = Job("abc", {"code": tmp_path / "code"}, None, ("sh", "code/train.sh"), {}, needs_gpu=False, least_disk_gb=0)
    pod = own.create(order())
    way = own.transport(pod, tmp_path / "unused")
    root = f"{remote.preflight(way, needs_gpu=False, least_disk_gb=0).workspace}/bizcharts/{pod.name}-{pod.pod_id}"
    remote.stage(way, root, job, None)
    remote.launch(way, root, job, python=sys.executable, max_runtime_seconds=60, lease_seconds=60)
    until((Path(root) / "running").exists)
    mark = f"BIZCHARTS_JOB_FOLDER={root}".encode()

    def processes() -> list[Path]:
        return [path for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]

    assert processes()
    own.terminate(pod.pod_id)
    assert not Path(root).exists()
    assert processes() == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("own", ["ssh"], indirect=True)
def test_a_host_that_refuses_is_no_host_without_pods(own: OwnHost, tmp_path: Path) -> None:
    settings = PodSettings(
        ssh_host="127.0.0.1",
        ssh_port=own._address.port,
        ssh_key=tmp_path / "keys" / keys.PRIVATE_KEY,
        ssh_known_hosts=tmp_path / "known",
    )

    def host(**changes: Any) -> Provider:
        return open_provider(Settings(pod_provider="ssh", pods=settings.model_copy(update=changes)))

    keys.make_keys(tmp_path / "other")
    with pytest.raises(AccessDenied):
        host(ssh_key=tmp_path / "other" / keys.PRIVATE_KEY).find("")
    (tmp_path / "empty").touch()
    with pytest.raises(AccessDenied):
        host(ssh_known_hosts=tmp_path / "empty").find("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Uncertain):
            host(ssh_port=taken.getsockname()[1]).find("")
