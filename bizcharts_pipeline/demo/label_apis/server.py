"""The label APIs on loopback: OpenAI and Gemini at one address, with limits, billing and faults.

All model answers are simulated: see :mod:`bizcharts_pipeline.demo.label_apis.oracle`.
"""

import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from bizcharts_pipeline.demo.label_apis import gemini as label_gemini
from bizcharts_pipeline.demo.label_apis import openai as label_openai
from bizcharts_pipeline.demo.label_apis.billing import Bill, Books
from bizcharts_pipeline.demo.label_apis.gemini import GeminiApi
from bizcharts_pipeline.demo.label_apis.openai import OpenAIApi
from bizcharts_pipeline.demo.label_apis.openai_batches import OpenAIBatches
from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.wire import (
    ANY_REQUEST,
    IN_BATCHES,
    REFUSED,
    TRANSPORT,
    Asked,
    LabelFault,
    Refusal,
    Reply,
    Request,
)
from bizcharts_pipeline.demo.server import JSON, BoardServer, Fault, Handler, Page, RequestRecord

Rates = Mapping[LabelFault, float]
_OPENAI, _GEMINI = "/openai/v1", "/gemini/"
_ASKING = ("/chat/completions", "/decisions", ":generateContent")
_NO_PATH = Page(b'{"error":{"code":404,"message":"Unknown path.","status":"NOT_FOUND"}}', JSON, status=404)


class SimulatedLabelApis(BoardServer):
    """The APIs; a context manager. The same requests in any order get the same faults and labels.

    Attributes:
        openai, openai_batches, gemini: the APIs, with their own settings.
        books: the prices by model, and the charges.
        rates: share of the requests with each fault; the sum is at most 1. Those in ``ANY_REQUEST`` also apply
            to uploads, polls and lists, those in ``IN_BATCHES`` to the lines of a batch.
        fault_of: returns a question's permanent fault, by the text of its user messages.
        requests_per_minute, requests_per_day: limits of label requests; more are refused. ``None``: no limit.
        minute_seconds: length of a minute for that limit.
        accepted_key: the only accepted key; ``None``: any key.
        keys: every received key.
        asked: the questions answered synchronously, in the order of their arrival.
    """

    def __init__(self, oracle: Oracle | None = None, *, rates: Rates | None = None, seed: int = 7) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _LabelHandler
        self.retry_after = "1"
        self.seed = seed
        self.rates: dict[LabelFault, float] = dict(rates or {})
        self.fault_of: Callable[[str], LabelFault | None] = lambda text: None
        self.requests_per_minute: int | None = None
        self.requests_per_day: int | None = None
        self.minute_seconds = 60.0
        self.accepted_key: str | None = None
        self.keys: set[str] = set()
        self.asked: list[Asked] = []
        self.books = Books()
        oracle = oracle or Oracle()
        self.openai = OpenAIApi(oracle, self.books)
        self.openai_batches = OpenAIBatches(self.openai, self._line_fault, seed)
        self.gemini = GeminiApi(oracle, self.books, self._line_fault, seed)
        self._scripted: deque[tuple[str, LabelFault]] = deque()
        self._attempts: Counter[str] = Counter()
        self._of_minute: deque[float] = deque()  # monotonic
        self._of_day = 0

    @property
    def openai_url(self) -> str:
        """Address of the simulated OpenAI API: the value for OPENAI_BASE_URL."""
        return f"{self.url}{_OPENAI}"

    @property
    def gemini_url(self) -> str:
        """Address of the simulated Gemini API: the value for GOOGLE_GEMINI_BASE_URL."""
        return f"{self.url}/gemini"

    def bill(self, provider: str | None = None) -> Bill:
        """Return the bill of the simulated 'openai', 'gemini' or both; batches that are due are processed first."""
        self.openai_batches.advance()
        self.gemini.advance()
        return self.books.bill(provider)

    def fail_next(self, *faults: Fault | str, on: str = "") -> None:
        """Apply ``faults`` (:class:`LabelFault`) to the next requests to the simulated label APIs whose path contains
        ``on``, one each."""
        with self._lock:
            self._scripted.extend((on, LabelFault(fault)) for fault in faults)

    def reply(self, request: Request) -> Reply:
        """Answer a request to the simulated label APIs."""
        fault = self._request_fault(request)
        number = (("x-request-id", self.openai.number("req_")),)
        gemini = request.path.startswith(_GEMINI)
        try:
            self._check_key(request, gemini)
            limited = self._limited(request)
            if fault in REFUSED or limited:
                raise self._refused(limited or fault or LabelFault.RATE, gemini)
            if fault is LabelFault.RESET:
                return Reply(_NO_PATH, transport=Fault.RESET)
            reply, fault = self._work(request, fault, gemini)
        except Refusal as refusal:
            reply = label_gemini.error_page(refusal) if gemini else label_openai.error_page(refusal)
            return replace(reply, headers=(*reply.headers, *number))
        if fault is LabelFault.GATEWAY_TIMEOUT:
            reply = Reply(Page(b"<html><h1>504 Gateway Time-out</h1></html>", "text/html", status=504))
        transport = TRANSPORT.get(fault) if fault else None
        if fault is LabelFault.BROKEN_BODY:
            reply = replace(reply, page=replace(reply.page, body=reply.page.body[: len(reply.page.body) // 2]))
        return replace(reply, headers=(*reply.headers, *number, *self._limit_headers()), transport=transport)

    def _refused(self, fault: LabelFault, gemini: bool) -> Refusal:
        refusal_of = label_gemini.refusal_of if gemini else label_openai.refusal_of
        return refusal_of(fault, self.retry_after or "1")

    def _work(self, request: Request, fault: LabelFault | None, gemini: bool) -> tuple[Reply, LabelFault | None]:
        """Let the API answer; return the reply and its fault, which may be the question's own."""
        met = fault

        def pick(asked: Asked) -> LabelFault | None:
            nonlocal met
            with self._lock:
                self.asked.append(replace(asked, image=None))
            met = self.fault_of(asked.text) or fault
            if met in REFUSED:
                raise self._refused(met, gemini)
            return met

        if gemini:
            version, _, rest = request.path.removeprefix(_GEMINI).partition("/")
            reply = self.gemini.reply(request, f"/{rest}", pick) if version in ("v1", "v1beta") else None
        else:
            path = request.path.removeprefix(_OPENAI)
            reply = self.openai.reply(request, path, pick) or self.openai_batches.reply(request, path)
        return reply or Reply(_NO_PATH), met

    def _request_fault(self, request: Request) -> LabelFault | None:
        """Return the fault of a request: a scripted one, else a random one determined by content and attempt."""
        asking = request.path.endswith(_ASKING)
        name = hashlib.sha256(f"{request.method} {request.path} ".encode() + request.body).hexdigest()
        with self._lock:
            for index, (on, fault) in enumerate(self._scripted):
                if on in request.path:
                    del self._scripted[index]
                    return fault
            self._attempts[name] += 1
            attempt = self._attempts[name]
        return self._drawn(f"{name} {attempt}", frozenset(self.rates) if asking else ANY_REQUEST)

    def _line_fault(self, asked: Asked) -> LabelFault | None:
        name = f"line {asked.content}"
        with self._lock:
            self._attempts[name] += 1
            attempt = self._attempts[name]
        own = self.fault_of(asked.text)
        return own if own in IN_BATCHES else self._drawn(f"{name} {attempt}", IN_BATCHES)

    def _drawn(self, name: str, possible: frozenset[LabelFault]) -> LabelFault | None:
        rest = random.Random(f"{self.seed} {name}").random()
        for fault, rate in self.rates.items():
            if rest < rate:
                return fault if fault in possible else None
            rest -= rate
        return None

    def _limited(self, request: Request) -> LabelFault | None:
        """Count a label request; return the fault if a limit is exceeded."""
        if not request.path.endswith(_ASKING):
            return None
        with self._lock:
            if self.requests_per_day is not None and self._of_day >= self.requests_per_day:
                return LabelFault.DAY_LIMIT
            if self.requests_per_minute is not None and self._used() >= self.requests_per_minute:
                return LabelFault.RATE
            self._of_minute.append(time.monotonic())
            self._of_day += 1
        return None

    def _used(self) -> int:
        """Forget requests older than a minute and return the number of the others; the caller holds the lock."""
        while self._of_minute and time.monotonic() - self._of_minute[0] >= self.minute_seconds:
            self._of_minute.popleft()
        return len(self._of_minute)

    def _limit_headers(self) -> tuple[tuple[str, str], ...]:
        limit = self.requests_per_minute or 10_000
        with self._lock:
            left = max(0, limit - self._used())
        return (
            ("x-ratelimit-limit-requests", str(limit)),
            ("x-ratelimit-remaining-requests", str(left)),
            ("x-ratelimit-reset-requests", f"{self.minute_seconds / limit:.3f}s"),
            ("x-ratelimit-limit-tokens", "200000"),
            ("x-ratelimit-remaining-tokens", "199000"),
            ("x-ratelimit-reset-tokens", "300ms"),
        )

    def _check_key(self, request: Request, gemini: bool) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-goog-api-key", "") if gemini else bearer
        if not key:
            raise self._refused(LabelFault.UNAUTHORISED, gemini)
        self.keys.add(key)
        if self.accepted_key in (None, key):
            return
        if gemini:
            raise Refusal(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
        raise self._refused(LabelFault.UNAUTHORISED, gemini)


class _LabelHandler(Handler):
    """Request handler that also reads bodies; answers are sent as by the board."""

    def do_GET(self) -> None:
        at = time.monotonic()
        path, _, query = self.path.partition("?")
        body = self._body()
        apis = self.server.board_server
        assert isinstance(apis, SimulatedLabelApis)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = apis.reply(Request(self.command, path, query, headers, body))
        status = 0 if reply.transport else reply.page.status
        apis.log(RequestRecord(at, self.command, path, query, None, headers.get("user-agent"), status, reply.transport))
        if apis.latency_seconds:
            self.server.closing.wait(apis.latency_seconds)
        if reply.transport is not None:
            self._fail(reply.transport, reply.page)
        else:
            self._answer(reply.page.status, reply.page, *reply.headers)

    do_POST = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)
