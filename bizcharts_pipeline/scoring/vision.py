"""Scores posts with a vision model on a server: text and picture together, each answer paid at most once.

The ledger ``ledgers/scores.sqlite`` holds questions, answers and costs, as that of the auto-labels does: what was
answered before a kill is not asked again, and the day's cap counts what is reserved.
"""

import json
import logging
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from bizcharts_pipeline.autolabel.concurrency_limit import Closing, Gate
from bizcharts_pipeline.autolabel.dispatcher import Brake, Dispatcher
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import OPEN, UNDER_WAY, AutoLabelLedger
from bizcharts_pipeline.autolabel.protocol import Prompt
from bizcharts_pipeline.autolabel.results import Answered, answers_to, has_answers
from bizcharts_pipeline.autolabel.selection import FlaggedPosts
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.endpoints.ledger import LEDGER as ENDPOINTS
from bizcharts_pipeline.endpoints.ledger import EndpointLedger, EndpointRow
from bizcharts_pipeline.images.nsfw import may_be_sent
from bizcharts_pipeline.images.structure import PictureRejected, media_type_of
from bizcharts_pipeline.pods.providers.access import queue_access
from bizcharts_pipeline.scoring.endpoint import (
    NAME,
    NoEndpoint,
    VisionEndpoint,
    endpoint_access,
    endpoint_caps,
    endpoint_terms,
    scoring_prompt,
)
from bizcharts_pipeline.scoring.jobs import Jobs, lose_forgotten
from bizcharts_pipeline.scoring.place import VISION_BATCH, Place
from bizcharts_pipeline.sentiment.artifact import CorruptModel, read_artifact
from bizcharts_pipeline.sentiment.calibrated import CALIBRATION
from bizcharts_pipeline.sentiment.scorer import Picture, Post, Score, Scorer, WaitsFor, instead_of
from bizcharts_pipeline.sentiment.temperature import at_temperature
from bizcharts_pipeline.settings import QUEUE_SCHEME, VisionSettings
from bizcharts_pipeline.text.question import question, readable
from bizcharts_pipeline.warehouse.models import ModelVersion

_log = logging.getLogger(__name__)

LEDGER = Path("ledgers") / "scores.sqlite"  # below the home
PAUSE = timedelta(minutes=10)  # after FAILURES requests of which none was answered
FAILURES = 12
POSTS_AT_ONCE = 64  # whose pictures are held in memory
REPORT = "report.json"


@dataclass(frozen=True)
class VisionCalibration:
    """Probabilities are ``softmax((log p + shift) / temperature)``; ``shift`` corrects for oversampled classes."""

    shift: tuple[float, float, float]
    temperature: float

    def score(self, probabilities: tuple[float, float, float], method: str) -> Score:
        """Return the calibrated score of a post from the raw probabilities of the vision model's server."""
        shifted = np.log(np.maximum(probabilities, 1e-12)) + np.array(self.shift)
        bearish, neutral, bullish = at_temperature(shifted, self.temperature).tolist()
        return Score(bearish, neutral, bullish, method)


class VisionScorer:
    """A vision model on a server.

    A post whose picture was not fetched yet, whose answer has to wait, which the model refuses or which a labeller has
    flagged as illegal is scored by ``fallback``, and so is a part of a post. A picture that may not be sent (content
    safety) is left out, as is one that was removed: the model then reads the text alone.

    Attributes:
        closed: why no more is sent in this run.
    """

    def __init__(self, model: ModelVersion, calibration: VisionCalibration, fallback: Scorer, place: Place) -> None:
        """Prepare the scorer; nothing is sent yet."""
        self.kind, self.model_version, self.batch = model.kind, model.model_version, VISION_BATCH
        self._calibration, self._fallback, self._place = calibration, fallback, place
        self._prompt = scoring_prompt()
        self.closed: Closing | None = None
        self._answered = False  # whether the server has answered in this run
        self._flagged = FlaggedPosts(place.home)

    def score(self, posts: Sequence[Post]) -> list[Score]:
        """Return for each post, in order, the score of the vision model on a server, or of the fallback."""
        before = self.closed
        found = self._read(posts)
        if self.closed is not None and self.closed is not before:
            _log.warning(
                "The vision server gets no more posts in this run: %s. They are scored by another model until it "
                "answers.",
                self.closed.why.rstrip("."),
            )
        left = [(post, each.waits_for) for post, each in zip(posts, found, strict=True) if isinstance(each, _Fallback)]
        others = iter(
            instead_of(self.model_version, self._fallback, [post for post, _ in left], [until for _, until in left])
        )
        return [next(others) if isinstance(each, _Fallback) else each for each in found]

    def own_scores(self, posts: Sequence[Post]) -> list[Score | None]:
        """Return for each post, in order, the score of the vision model on a server; ``None`` where only the fallback
        could score it."""
        return [None if isinstance(each, _Fallback) else each for each in self._read(posts)]

    def _read(self, posts: Sequence[Post]) -> "list[Score | _Fallback]":
        flagged = self._flagged()
        asked = [post for post in posts if _can_be_asked(post) and post.thread_id not in flagged]
        answered = self._answers(asked) if asked else {}
        later: WaitsFor = "budget" if self.closed is not None and self.closed.kind == "budget" else "endpoint"
        return [_Fallback(None) if post.thread_id in flagged else self._found(post, answered, later) for post in posts]

    def _found(self, post: Post, answered: Mapping[int, Answered], later: WaitsFor) -> "Score | _Fallback":
        if not _can_be_asked(post):
            return _Fallback("picture" if _picture_is_awaited(post) else None)
        answer = answered.get(post.thread_id or 0)
        if answer is None or answer.state in OPEN | UNDER_WAY:
            return _Fallback(later)
        if answer.probabilities is None:
            return _Fallback(None)  # refused or unusable, for good
        complete = answer.image_used or post.picture is None
        score = self._calibration.score(answer.probabilities, self.kind if complete else f"{self.kind} (text only)")
        late = post.picture is not None and post.picture.state == "late"
        return replace(score, waits_for="picture") if late else score

    def _answers(self, posts: Sequence[Post]) -> dict[int, Answered]:
        """Return the answers; none if the ledger cannot be used, without which nothing is sent."""
        try:
            return self._ask(posts)
        except (BizchartsError, OSError, sqlite3.Error) as error:
            self.closed = Closing("stop", reason_of(error))
            return {}

    def _ask(self, posts: Sequence[Post]) -> dict[int, Answered]:
        """Send the questions that have no answer yet, unless sending has stopped already; return all answers."""
        run, prompt = _new_run(), self._prompt
        version = _version(self.model_version, prompt)
        with AutoLabelLedger(self._place.home / LEDGER) as ledger, ledger.working(run):
            ledger.use_prompt(prompt, run.now)
            # In another order each run, so that no post that is always slow to be answered holds up the same others.
            shuffled = random.Random(run.run_id).sample(posts, len(posts))
            send = self._send_jobs if is_worker(self._place.vision) else self._send_requests
            send(ledger, version, run, shuffled)
            return answers_to(ledger, version, [post.thread_id or 0 for post in posts])

    def _send_requests(self, ledger: AutoLabelLedger, version: Version, run: Run, posts: Sequence[Post]) -> None:
        """Send questions to an OpenAI-compatible server, one in a request."""
        lose_forgotten(ledger, version, run.now)
        with closing(self._endpoint(ledger, version)) as provider:
            dispatcher = Dispatcher(
                provider,
                self._prompt,
                ledger,
                run,
                endpoint_terms(self.model_version, self._place.vision),
                endpoint_caps(self._place.vision),
                most_at_once=self._place.vision.most_at_once,
                clock=utc_now,
                brake=Brake(FAILURES, PAUSE),
            )
            if self.closed is None:
                with _closed_after(dispatcher.gate, self._place.seconds):
                    for _thread in dispatcher.ask(self._inquiries(version, posts)):
                        pass
                self.closed = dispatcher.gate.closing
                self._answered = self._answered or dispatcher.answered
                if self._answered:
                    dispatcher.finish_run()
                elif dispatcher.postponed:  # the server is down, which no question is to blame for
                    self.closed = self.closed or Closing("silence", "no request had a usable answer")

    def _send_jobs(self, ledger: AutoLabelLedger, version: Version, run: Run, posts: Sequence[Post]) -> None:
        """Send questions to a serverless worker, many in a job."""
        row = worker_of(self._place, self.model_version)
        jobs = _jobs(ledger, version, self._prompt, run, row, self._place.vision, answered=self._answered)
        waits = jobs.collect()
        self.closed = self.closed or jobs.closing or jobs.pause(run.now - PAUSE)
        if waits and self._place.seconds is not None:
            self.closed = self.closed or Closing("silence", "an earlier job has not ended")
        if self.closed is None:
            inquiries = [inquiry for chunk in self._inquiries(version, posts) for inquiry in chunk]
            if self._place.seconds is None:
                jobs.send_all(inquiries)
            else:
                until = time.monotonic() + self._place.seconds
                jobs.send(inquiries, self._place.vision.timeout_seconds, until)
            self.closed = jobs.closing
        self._answered = jobs.answered

    def _endpoint(self, ledger: AutoLabelLedger, version: Version) -> VisionEndpoint:
        return VisionEndpoint(self.model_version, self._place.vision, worked=has_answers(ledger, version))

    def _inquiries(self, version: Version, posts: Sequence[Post]) -> Iterator[list[Inquiry]]:
        for first in range(0, len(posts), POSTS_AT_ONCE):
            yield [self._inquiry(version, post) for post in posts[first : first + POSTS_AT_ONCE]]

    def _inquiry(self, version: Version, post: Post) -> Inquiry:
        text, picture = readable(post.subject, post.text), self._content(post.picture)
        questions = []
        if picture is not None:
            questions.append(version.question(question(text, picture=True), picture))
        if text:
            questions.append(version.question(question(text, picture=False), None))
        return Inquiry(post.thread_id or 0, tuple(questions))

    def _content(self, picture: Picture | None) -> bytes | None:
        """Return the bytes of a picture that may be sent."""
        if picture is None or picture.path is None or not may_be_sent(picture.nsfw, picture.state, self._place.images):
            return None
        try:
            content = read_regular(self._place.home / picture.path)
            media_type_of(content)
        except (OSError, PictureRejected):  # deleted since the post was read, or damaged
            return None
        return content


@dataclass(frozen=True)
class _Fallback:
    """The fallback scores a post, until what it waits for has come."""

    waits_for: WaitsFor | None


def vision_scorer(model: ModelVersion, place: Place, fallback: Scorer) -> VisionScorer:
    """Return the scorer of a registered vision model, after verifying its files and its server's address.

    Raises:
        CorruptModel: a file was changed or is malformed.
        NoEndpoint: no request may be sent to the address, or this installation has no such worker for the model.
        AccessDenied: RunPod's key is missing.
    """
    folder = place.home / (model.path or "")
    read_artifact(folder, model.sha256 or "")
    if is_worker(place.vision):
        worker_of(place, model.model_version)
        queue_access()
    else:
        endpoint_access(place.vision)
    return VisionScorer(model, _calibration(folder), fallback, place)


def is_worker(settings: VisionSettings) -> bool:
    """Return whether the vision model scores posts on a serverless worker."""
    return settings.endpoint.startswith(QUEUE_SCHEME)


def worker_of(place: Place, model_version: str) -> EndpointRow:
    """Return the deployed worker for scoring that `endpoint` of [vision] names.

    Raises:
        NoEndpoint: this installation has not deployed it, or for another model.
    """
    endpoint_id = place.vision.endpoint.removeprefix(QUEUE_SCHEME)
    row = EndpointLedger(place.home / ENDPOINTS).deployed(endpoint_id) if is_known(place.home / ENDPOINTS) else None
    if row is None:
        raise NoEndpoint(f"no worker {endpoint_id} is deployed here; run `bizcharts endpoint deploy`")
    if row.model_version != model_version:
        raise NoEndpoint(f"the worker {endpoint_id} has {row.model_version}; deploy one for {model_version}")
    return row


def place_for(place: Place, model_version: str) -> Place:
    """Return where a vision model is served that need not be the champion: if `endpoint` of [vision] names a serverless
    worker, by the one that is deployed for this model, if there is one.

    Raises:
        PodLedgerError: the ledger of endpoints cannot be read.
    """
    if not is_worker(place.vision) or not is_known(place.home / ENDPOINTS):
        return place
    row = EndpointLedger(place.home / ENDPOINTS).deployed_for(model_version)
    if row is None:
        return place
    return replace(place, vision=place.vision.model_copy(update={"endpoint": f"{QUEUE_SCHEME}{row.endpoint_id}"}))


@contextmanager
def jobs_of(home: Path, settings: VisionSettings, row: EndpointRow) -> Iterator[Jobs]:
    """Yield the scoring jobs of a run of its own at a worker, under the cap of ``settings``."""
    run, prompt = _new_run(), scoring_prompt()
    with AutoLabelLedger(home / LEDGER) as ledger, ledger.working(run):
        yield _jobs(ledger, _version(row.model_version, prompt), prompt, run, row, settings)


def _jobs(
    ledger: AutoLabelLedger,
    version: Version,
    prompt: Prompt,
    run: Run,
    row: EndpointRow,
    settings: VisionSettings,
    *,
    answered: bool = False,
) -> Jobs:
    caps, worked = endpoint_caps(settings), has_answers(ledger, version)
    return Jobs(ledger, version, prompt, run, row, caps, worked=worked, answered=answered, clock=utc_now)


def _new_run() -> Run:
    now = utc_now()
    return Run(f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", now)


def _version(model_version: str, prompt: Prompt) -> Version:
    return Version(NAME, model_version, VisionEndpoint.endpoint, prompt.version, prompt.sha256)


def _calibration(folder: Path) -> VisionCalibration:
    """Return the calibration of a verified adapter's folder; that of one registered by an earlier version lacks the
    correction for oversampled classes, which the training's report has too.

    Raises:
        CorruptModel: it is malformed.
    """
    read = folder / CALIBRATION
    try:
        values = json.loads(read_regular(read))
        shift = values.get("shift")
        if not shift:
            read = folder / REPORT
            shift = json.loads(read_regular(read)).get("shift") or (0.0, 0.0, 0.0)
            read = folder / CALIBRATION
        bearish, neutral, bullish = (float(value) for value in shift)
        return VisionCalibration((bearish, neutral, bullish), float(values["temperature"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f" (it is needed because {CALIBRATION} has no `shift`)" if read.name == REPORT else ""
        raise CorruptModel(f"{read} cannot be used{why}: {reason_of(error):.100}") from None


@contextmanager
def _closed_after(gate: Gate, seconds: float | None) -> Iterator[None]:
    """Close the gate after ``seconds``; never if they are ``None``."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, gate.close, (Closing("ended", f"the pass has {seconds:.0f} seconds"),))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _can_be_asked(post: Post) -> bool:
    return post.thread_id is not None and not _picture_is_awaited(post)


def _picture_is_awaited(post: Post) -> bool:
    return post.picture is not None and post.picture.state == "waiting"
