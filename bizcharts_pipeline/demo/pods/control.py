"""RunPod on loopback: its control plane (GraphQL and REST v2) for one account, with real sshds as pods, and the queues
of serverless endpoints.

    python -m bizcharts_pipeline.demo.pods.control --port 8801 --faults '{"seed": 1, "no_capacity": 0.2}'

prints one line of JSON with its addresses (``RUNPOD_API_BASE_URL``, ``RUNPOD_ENDPOINT_BASE_URL``) and key
(``RUNPOD_API_KEY``), runs until it is terminated, then terminates its pods and prints the bill. In addition to the APIs
it answers ``GET /demo/bill``, ``POST /demo/fail_next`` (a JSON list of faults) and ``POST /demo/retire`` (a JSON object
from API to status, for an API that is switched off).

Limitations: pods are not containers. Their SSH sessions run as the user who started the server, and see the host's
files. GraphQL does not report an SSH user and clients assume root, so unless the server runs as root, pods can be
reached only through REST v2. The order's start command runs with ``BIZCHARTS_GUARD_ONLY=1`` next to an sshd that was
started separately. Disks, stopped pods and network volumes are not billed. After a SIGKILL, the pods keep running.
"""

import argparse
import json
import re
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from bizcharts_pipeline.demo.label_apis.billing import Books
from bizcharts_pipeline.demo.label_apis.openai import OpenAIApi
from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.pods import graphql as pod_graphql
from bizcharts_pipeline.demo.pods import rest as pod_rest
from bizcharts_pipeline.demo.pods.billing import PodBill
from bizcharts_pipeline.demo.pods.cloud import Cloud
from bizcharts_pipeline.demo.pods.faults import OF_API, OF_RUN, Chance, PodFault, PodFaults
from bizcharts_pipeline.demo.pods.serverless import ENDPOINTS, QUEUES, Serverless, no_model

_MAX_BYTES = 20_000_000
_ORDER = re.compile(rb'name"?\s*:\s*\\?"([^"\\]+)')
_SORRY = "Something went wrong. Please try again later or contact support."
_HTML = b"<!DOCTYPE html><html><head><title>502</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_RETRY_AFTER = "1"


class PodControl:
    """The control plane; a context manager, which terminates its pods on exit.

    Attributes:
        cloud: the account with its pods.
        chance: the faults; ``fail_next`` scripts them.
        api_calls: number of requests to each API.
    """

    def __init__(
        self,
        folder: Path,
        faults: PodFaults = PodFaults(),  # noqa: B008 - immutable
        *,
        port: int = 0,
        account_key: str | None = None,
        serverless: Serverless | None = None,
    ) -> None:
        self.chance = Chance(faults)
        self.cloud = Cloud(folder, account_key or f"rpa_{secrets.token_hex(20)}", self.chance)
        self.serverless = serverless or Serverless(no_model)
        self.serverless.chance = self.chance
        self.api_calls = {"graphql": 0, "rest": 0}
        self.closing = threading.Event()
        self.retired: dict[str, int] = {}
        self._late: list[threading.Timer] = []
        self._lock = threading.Lock()
        self._spell: tuple[PodFault, int] | None = None
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.control = self
        self.cloud.url = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Address of the simulated control plane: the value for RUNPOD_API_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def queue_url(self) -> str:
        """Address of the simulated queues: the value for RUNPOD_ENDPOINT_BASE_URL."""
        return f"{self.url}{QUEUES}"

    @property
    def key(self) -> str:
        """Key of the simulated account: the value for RUNPOD_API_KEY."""
        return self.cloud.account_key

    def fail_next(self, *faults: PodFault | str) -> None:
        """Apply these faults to the next simulated orders, pods, connections or requests, according to each fault's
        kind."""
        self.chance.fail_next(*faults)

    def retire(self, dialect: str, status: int = 410) -> None:
        """Switch off one of the simulated APIs ('graphql' or 'rest'): every request to it is answered with
        ``status``."""
        self.retired[dialect] = status

    def later(self, deed: Callable[[], object]) -> None:
        """Execute an order of a simulated pod some seconds from now."""
        seconds = self.chance.random("late order").uniform(*self.chance.faults.late_seconds)
        timer = threading.Timer(seconds, deed)
        timer.daemon = True
        with self._lock:
            self._late.append(timer)
        timer.start()

    def bill(self) -> PodBill:
        """Return the charges of all simulated pods so far."""
        return self.cloud.bill()

    def bill_document(self) -> dict[str, Any]:
        """Return the charges of simulated pods and serverless workers as JSON."""
        return {**bill_document(self.bill()), "serverless": self.serverless.bill_document()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for timer in self._late:
            timer.cancel()
            timer.join()
        self.cloud.close()
        self.serverless.close()

    def api_fault(self) -> PodFault | None:
        """Return the fault of the next request to the simulated control plane; a random fault affects several
        consecutive requests."""
        with self._lock:
            for fault in OF_API:
                if self.chance.scripted(fault):
                    return fault
            if self._spell is not None:
                fault, left = self._spell
                self._spell = (fault, left - 1) if left > 1 else None
                return fault
            for fault in OF_API:
                if self.chance.drawn(fault, "request"):
                    left = self.chance.faults.spell_requests - 1
                    self._spell = (fault, left) if left > 0 else None
                    return fault
        return None

    def count(self, dialect: str) -> None:
        """Count a request to the simulated control plane."""
        with self._lock:
            self.api_calls[dialect] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    control: PodControl

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect early."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        control = self.server.control
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BYTES:
            self._send(413, b"", "text/plain")
            return
        body = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        if path.startswith("/demo/"):
            self._demo(path, body)
            return
        graphql = path == "/graphql"
        dialect = "graphql" if graphql else "rest"
        control.count(dialect)
        if (gone := control.retired.get(dialect)) is not None:
            self._json(gone, {"title": "Gone", "status": gone, "detail": "This API has been retired."})
            return
        if (fault := control.api_fault()) is not None:
            self._refuse(int(fault.value.removeprefix("api_")), graphql)
            return
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        scope = None if key == control.key else control.cloud.owner_of(key)
        if key != control.key and scope is None:
            self._refuse(401, graphql)
            return
        if path.startswith(f"{QUEUES}/") and scope is None:
            self._queue(path.removeprefix(f"{QUEUES}/"), body)
            return
        self._work(graphql, path, query, body, scope)

    do_POST = do_DELETE = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the log."""

    def _work(self, graphql: bool, path: str, query: str, body: bytes, scope: str | None) -> None:
        """Execute a request; with a fault, execution and response may differ."""
        cloud = self.server.control.cloud
        fault, name = self._fault_of_deed(graphql, path, body)

        def deed() -> tuple[int, Any]:
            if graphql:
                return pod_graphql.answer(cloud, _query_of(body), scope)
            if path.startswith(ENDPOINTS) and scope is None:
                return self.server.control.serverless.manage(command, path, body)
            return pod_rest.answer(cloud, command, path, query, body, scope)

        command = self.command
        if fault is PodFault.CREATE_LATE:
            self.server.control.later(deed)
        elif fault not in (PodFault.CREATE_FAILS, PodFault.TERMINATE_FAILS):
            status, answer = deed()
            if fault is None:
                self._json(status, answer)
                return
        if fault is PodFault.CREATE_HANGS:
            self.server.control.closing.wait(cloud.chance.faults.hang_seconds)
            self.close_connection = True
            return
        if cloud.chance.random(f"page {name}").random() < 0.5:
            self._send(502, _HTML, "text/html")
        else:
            self._refuse(500, graphql)

    def _queue(self, path: str, body: bytes) -> None:
        """Answer a request to the queue of an endpoint."""
        control = self.server.control
        puts = path.endswith("/run")
        fault = next((fault for fault in OF_RUN if puts and control.chance.meets(fault, "run")), None)
        if fault is PodFault.RUN_429:
            self._refuse(429, graphql=False)
            return
        status, answer = 500, pod_rest.problem(500, _SORRY)[1]
        if fault is not PodFault.RUN_FAILS:
            found = control.serverless.queue(self.command, path, body)
            status, answer = (status, answer) if fault is PodFault.RUN_LANDS else found
        if fault is PodFault.RUN_HANGS:
            self.close_connection = True
            return
        self._json(status, answer)

    def _fault_of_deed(self, graphql: bool, path: str, body: bytes) -> tuple[PodFault | None, str]:
        """Return the fault of an order or a termination request, and the name under which it was drawn."""
        chance = self.server.control.chance
        if (graphql and b"podFindAndDeployOnDemand" in body) or (
            self.command == "POST" and path in ("/v2/pods", ENDPOINTS)
        ):
            found = _ORDER.search(body)
            name = found[1].decode(errors="replace") if found else "order"
            possible: tuple[PodFault, ...] = (
                *(PodFault.CREATE_FAILS, PodFault.CREATE_LANDS, PodFault.CREATE_HANGS, PodFault.CREATE_LATE),
            )
        elif (graphql and b"podTerminate" in body) or (
            self.command == "DELETE" and path.startswith(("/v2/pods/", f"{ENDPOINTS}/"))
        ):
            name = "terminate"
            possible = (PodFault.TERMINATE_LANDS, PodFault.TERMINATE_FAILS)
        else:
            return None, ""
        return next((fault for fault in possible if chance.meets(fault, name)), None), name

    def _demo(self, path: str, body: bytes) -> None:
        control = self.server.control
        if path == "/demo/bill":
            self._json(200, control.bill_document())
        elif path == "/demo/fail_next" and self.command == "POST":
            control.fail_next(*json.loads(body))
            self._json(200, {})
        elif path == "/demo/retire" and self.command == "POST":
            control.retired.update(json.loads(body))
            self._json(200, {})
        else:
            self._json(404, {})

    def _refuse(self, status: int, graphql: bool) -> None:
        """Answer with an error status in the format of the API."""
        if not graphql:
            self._json(status, pod_rest.problem(status, _SORRY)[1])
        elif status == 410:
            self._json(410, {"title": "Gone", "status": 410, "detail": "This API has been retired."})
        elif status == 500:
            self._json(500, {"errors": [{"message": _SORRY}], "data": None})
        else:
            self._send(status, b"Too Many Requests" if status == 429 else b"Unauthorized", "text/plain")

    def _json(self, status: int, answer: Any) -> None:
        self._send(status, b"" if answer is None else json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        if content:
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", _RETRY_AFTER)
        self.end_headers()
        self.wfile.write(content)


def _query_of(body: bytes) -> object:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed.get("query") if isinstance(parsed, dict) else None


def bill_document(bill: PodBill) -> dict[str, Any]:
    """Return the bill of the simulated account as JSON; amounts are strings in USD."""
    charges = [
        {
            "pod_id": charge.pod_id,
            "name": charge.name,
            "gpu": charge.gpu,
            "cloud": charge.cloud,
            "usd_per_hour": str(charge.usd_per_hour),
            "seconds": charge.seconds,
            "usd": str(charge.usd),
            "ended": charge.ended,
        }
        for charge in bill.charges
    ]
    return {"usd": str(bill.usd), "alive": bill.alive, "pods": charges}


def main(arguments: list[str] | None = None) -> None:
    """Run a simulated control plane as a separate process, until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="RunPod's control plane on loopback, with sshds as pods")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--folder", type=Path, help="where pods live; a temporary folder unless given")
    parser.add_argument("--key", help="the account's key; made up unless given")
    parser.add_argument("--adapters", nargs="*", default=[], help="models that serverless workers have")
    parser.add_argument("--faults", default="{}", help="fields of PodFaults as JSON")
    chosen = parser.parse_args(arguments)
    faults = TypeAdapter(PodFaults).validate_json(chosen.faults)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="bizcharts-pods-", ignore_cleanup_errors=True) as temporary:
        folder = chosen.folder or Path(temporary)
        simulated = OpenAIApi(Oracle(), Books())
        simulated.adapters.update(chosen.adapters)
        serverless = Serverless(simulated.completion)
        with PodControl(folder, faults, port=chosen.port, account_key=chosen.key, serverless=serverless) as control:
            _say({"url": control.url, "queue_url": control.queue_url, "key": control.key})
            stop.wait()
        _say(control.bill_document())


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
