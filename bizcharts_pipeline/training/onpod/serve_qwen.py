"""Serves a trained adapter on this machine's GPU: chat completions of one token, with the labels' log-probabilities.

    python serve_qwen.py HOME/models/qlora-1f2e3d4c5b6a --port 8000

The folder is that of a registered model; its name is the model's name in requests. Answers come from the same functions
as the training's own scores. Listens on 127.0.0.1 only; another machine reaches it through an ssh tunnel.
"""

import argparse
import base64
import binascii
import json
import queue
import sys
import tempfile
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from checks import LABELS, image_problem
from model import load_adapted, read_base
from outcome import BadInput, exit_status
from processor import load_processor
from rows import Row
from scoring import BATCH, answers, score
from spec import Spec

MAX_BODY = 4 * 1024 * 1024
ANSWER_SECONDS = 120
BAD_IMAGE = "invalid_image_format"
GATHER_SECONDS = 0.01  # how long a batch waits for further posts


class Refused(Exception):
    """A request that cannot be answered; ``code`` is OpenAI's."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Scored:
    """The answer to one question: log-probabilities of the labels among all tokens, and the tokens of the prompt."""

    log_p: np.ndarray
    prompt_tokens: int


class Model:
    """A loaded model that scores the questions of concurrent requests in batches."""

    def __init__(self, folder: Path) -> None:
        """Load the base and the adapter in ``folder``.

        Raises:
            BadInput: the folder is not that of an adapter.
        """
        spec = read_model_spec(folder)
        base = read_base(spec)
        self.name = folder.resolve().name
        self._processor = load_processor(str(folder), base, spec, local_files_only=True)
        self._model = load_adapted(spec, base, folder)
        tokenizer = self._processor.tokenizer
        self._forbidden = tuple(tokenizer.all_special_tokens)
        firsts = [tokens[0] for tokens in answers(self._processor)]
        distinct = len(set(firsts)) == len(firsts)
        self.tokens = [tokenizer.decode([token]) for token in firsts] if distinct else list(LABELS)
        self._waiting: queue.Queue[tuple[Row, Future[Scored]]] = queue.Queue()
        threading.Thread(target=self._score_for_ever, daemon=True).start()

    def score(self, question: str, images: tuple[Path, ...]) -> Scored:
        """Return the trained model's answer to one question.

        Raises:
            Refused: the question or its picture cannot be used.
        """
        if any(token in question for token in self._forbidden):
            raise Refused(400, "the text contains one of the tokenizer's special tokens")
        for path in images:
            if problem := image_problem(path):
                raise Refused(400, problem, BAD_IMAGE)
        found: Future[Scored] = Future()
        self._waiting.put((Row("request", 0, question, images, None), found))
        return found.result(ANSWER_SECONDS)

    def _score_for_ever(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < BATCH:
                try:
                    batch.append(self._waiting.get(timeout=GATHER_SECONDS))
                except queue.Empty:
                    break
            try:
                scores = score(self._model, self._processor, [row for row, _ in batch])
                for (row, found), log_p, mass in zip(batch, scores.log_p, scores.mass, strict=True):
                    tokens = len(self._processor.tokenizer(row.question)["input_ids"])
                    found.set_result(Scored(log_p + np.log(mass), tokens))
            except Exception as error:  # one batch must not end the server
                for _, found in batch:
                    if not found.done():
                        found.set_exception(error)


def read_model_spec(folder: Path) -> Spec:
    """Return the specification with which the adapter in a registered model's folder was trained.

    Raises:
        BadInput: the folder holds no such model.
    """
    try:
        known = json.loads((folder / "model.json").read_bytes())
        settings = {"parent": None, **known["settings"]}  # adapters of earlier versions name no parent
        return Spec(base=known["base_model"], revision=known["base_revision"], resume=None, **settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder} is not the folder of a registered adapter: {type(error).__name__}: {error}") from None


def completion(model: Model, body: dict[str, Any]) -> dict[str, Any]:
    """Return the trained model's answer to a chat completion.

    Raises:
        Refused: it is not a question about one post to this model.
    """
    if body.get("model") != model.name:
        message = f"The model {str(body.get('model'))!r:.80} does not exist; this server has {model.name}."
        raise Refused(404, message, "model_not_found")
    with tempfile.TemporaryDirectory(prefix="picture-") as scratch:
        question, images = _read(body.get("messages"), Path(scratch))
        scored = model.score(question, images)
    order = np.argsort(-scored.log_p)
    tokens = [{"token": model.tokens[k], "logprob": float(scored.log_p[k])} for k in order]
    usage = {"prompt_tokens": scored.prompt_tokens, "completion_tokens": 1, "total_tokens": scored.prompt_tokens + 1}
    return {
        "object": "chat.completion",
        "model": model.name,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": tokens[0]["token"]},
                "logprobs": {"content": [tokens[0] | {"top_logprobs": tokens}]},
                "finish_reason": "length",
            }
        ],
        "usage": usage,
    }


def answered(model: Model, body: Any) -> tuple[int, dict[str, Any]]:
    """Answer a request for a chat completion with the trained model: the response's status and body, also of a
    refusal."""
    try:
        if not isinstance(body, dict):
            raise Refused(400, "the body is not an object")
        return 200, completion(model, body)
    except Refused as error:
        return error.status, _error(str(error), error.code)
    except Exception as error:  # out of memory, for instance; the next request may succeed
        return 500, _error(f"{type(error).__name__}: {error}")


def _read(messages: Any, scratch: Path) -> tuple[str, tuple[Path, ...]]:
    match messages:
        case [{"role": "user", "content": [*parts]}]:
            pass
        case [{"role": "user", "content": str(text)}]:
            parts = [{"type": "text", "text": text}]
        case _:
            raise Refused(400, "'messages' must be one message of the user")
    texts: list[str] = []
    images: list[Path] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}} if not images:
                images.append(scratch / "picture")
                images[0].write_bytes(_picture(url))
            case _:
                raise Refused(
                    400, "each part of the content must have the type text or image_url, at most one of them image_url"
                )
    return "\n".join(texts), tuple(images)


def _picture(url: str) -> bytes:
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise Refused(400, "a picture must be inline, as data:image/…;base64,…")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Refused(400, "a picture is not valid base64") from None


class _Handler(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.model.name, "object": "model"}]})
        else:
            self._answer(404, _error("unknown path"))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/v1/chat/completions" or not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self._answer(404 if self.path != "/v1/chat/completions" else 413, _error("unknown path, or too long"))
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            self._answer(400, _error(f"the body is not JSON: {error}"))
            return
        self._answer(*answered(self.model, body))

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: posts do not belong into a log."""

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def serving(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return the server of the trained adapter in ``folder``, bound to 127.0.0.1; port 0 is any free one."""
    handler = type("Handler", (_Handler,), {"model": Model(folder)})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    """Serve a trained adapter, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the registered model")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    try:
        server = serving(arguments.folder, arguments.port)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return exit_status(error)
    print(f"serving {arguments.folder.resolve().name} on http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
