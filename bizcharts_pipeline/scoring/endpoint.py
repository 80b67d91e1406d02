"""A trained vision model on an OpenAI-compatible server, such as vLLM with the adapter under its model version as name.

The request has exactly the words of training (``text/question.py``) and the stored picture; one token is asked for, and
the log-probabilities of the classes' first tokens are the answer, as in ``training/onpod/scoring.py``.
"""

import base64
import hashlib
import os
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.autolabel.budget import Caps, Limits
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.prices import ModelPrice
from bizcharts_pipeline.autolabel.protocol import Answer, Endpoint, Outcome, Price, Prompt, Question
from bizcharts_pipeline.autolabel.providers.access import Access
from bizcharts_pipeline.autolabel.providers.openai import HTML_PAGE, MAX_ANSWER_BYTES, openai_client, openai_failure
from bizcharts_pipeline.autolabel.providers.replies import first_token_answer, safe
from bizcharts_pipeline.core.addresses import address_problem
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.money import nano_usd
from bizcharts_pipeline.images.structure import media_type_of
from bizcharts_pipeline.settings import VisionSettings, key_address_problem
from bizcharts_pipeline.text.question import INSTRUCTION, PICTURE, WITH_PICTURE, WITHOUT_PICTURE

if TYPE_CHECKING:
    from openai import OpenAI

KEY = "VISION_API_KEY"
NAME_ON_SERVER = "the name under which the server has the adapter"
NAME = "vision"
TOP_LOGPROBS = 20  # the most that vLLM gives
IMAGE_TOKENS = 256  # of a thumbnail of 250 pixels a model takes 81
_MANY = 1_000_000  # requests; the server's own limits hold


class NoEndpoint(BizchartsError):
    """The server cannot be used: its address or key is missing or not allowed."""


class VisionEndpoint:
    """One model on one server, as the dispatcher of questions uses it; thread-safe."""

    name = NAME
    endpoint: Endpoint = "chat"

    def __init__(self, model_version: str, settings: VisionSettings, *, worked: bool) -> None:
        """Prepare the client; nothing is sent yet. ``worked``: whether this model has ever given a usable answer.

        Raises:
            NoEndpoint: address or key cannot be used.
        """
        access = endpoint_access(settings)
        self.model = model_version
        self._worked = worked
        self._key = access.key
        self._client: OpenAI = openai_client(
            access, settings.timeout_seconds, settings.timeout_seconds, MAX_ANSWER_BYTES, settings.most_at_once
        )

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send the server of the vision model a post to score, once, and return the answer, :func:`checked`."""
        try:
            reply = self._client.chat.completions.with_raw_response.create(**chat_body(self.model, question))
            if "html" in reply.headers.get("content-type", ""):
                answer = Answer(Outcome.TRANSIENT, reply.text, detail=HTML_PAGE, served=True)
            else:
                answer = first_token_answer(reply.text, reply.headers.get("x-request-id"))
        except Exception as error:
            answer = openai_failure(error, gateway=True, address="`endpoint` of [vision]", model=NAME_ON_SERVER)
        answer = checked(answer, self.model, worked=self._worked)
        self._worked = self._worked or answer.outcome is Outcome.OK
        return safe(answer, self._key)

    def close(self) -> None:
        """Close the connections to the server of the vision model that scores posts."""
        self._client.close()


def checked(answer: Answer, model: str, *, worked: bool) -> Answer:
    """Return an answer of the scoring server with its meaning for the vision ``model``.

    An answer by another model counts as a wrong setup, after which the run sends no more; so does an unusable one until
    the model has ever ``worked``.
    """
    if answer.outcome is Outcome.OK and answer.model_returned not in (None, model):
        detail = f"the model {answer.model_returned!r:.80} answered; {NAME_ON_SERVER} must be {model}"
        return replace(answer, outcome=Outcome.STOP, detail=detail, label=None, probabilities=None)
    if answer.outcome in (Outcome.UNUSABLE, Outcome.BUG):  # BUG: the server refuses this request, not the model
        return replace(answer, outcome=Outcome.UNUSABLE if worked else Outcome.STOP)
    return answer


@dataclass(frozen=True)
class OnePrice:
    """The price of the server, whichever model it names in its answers."""

    price: ModelPrice

    def of(self, model: str) -> ModelPrice:
        """Return the price of the tokens of the scoring server."""
        return self.price

    def same(self, model: str, other: str) -> bool:
        """Return whether two names of the model on the scoring server are equal."""
        return model == other

    def unknown(self, model: str) -> str:
        """Return a message that no answer of the scoring server leads to, as every model has the price."""
        return f"the model {model!r} has no price"

    def highest(self, *, own: bool = False) -> ModelPrice:
        """Return the price of the scoring server; as the only one, it is also the highest."""
        return self.price


def endpoint_access(settings: VisionSettings) -> Access:
    """Return address and key of the server that scores posts; a server of your own may need no key.

    Raises:
        NoEndpoint: the address, or the key for it, is not allowed.
    """
    url = settings.endpoint.strip().rstrip("/")
    key = os.environ.get(KEY, "").strip()
    if problem := key_address_problem(url) if key else address_problem(url):
        raise NoEndpoint(f"endpoint of [vision] {problem}")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise NoEndpoint(f"{KEY} contains a character that is not allowed in an API key; copy the key again.")
    return Access(url, key or "none", gateway=True)


def scoring_prompt() -> Prompt:
    """Return the prompt under which the ledger stores the scoring model's answers. The instruction is part of each
    question, so it has no text of its own; its name and hash follow from the instruction."""
    sha256 = hashlib.sha256("\x1f".join((INSTRUCTION, WITH_PICTURE, WITHOUT_PICTURE)).encode()).hexdigest()
    return Prompt(f"scoring-{sha256[:8]}", "", sha256, max_output_tokens=1)


def endpoint_terms(model_version: str, settings: VisionSettings) -> Terms:
    """Return the scoring server's prices, as the ledger reserves and charges them."""
    entry, output = settings.usd_per_million_input_tokens, settings.usd_per_million_output_tokens
    return terms_at(model_version, Price(entry, output, entry, entry), endpoint_caps(settings).smallest)


def terms_at(model_version: str, price: Price, smallest_cap: int | None = None) -> Terms:
    """Return terms of the scoring server with one price, for whichever model answers."""
    return Terms(
        price,
        IMAGE_TOKENS,
        thinking_tokens=0,
        limits=Limits(_MANY, _MANY),
        batch_requests=0,
        model=model_version,
        in_batch=False,
        book=OnePrice(ModelPrice(model_version, date.min, price, Decimal(1), IMAGE_TOKENS, 0)),
        smallest_cap=smallest_cap,
    )


def endpoint_caps(settings: VisionSettings) -> Caps:
    """Return the cap of a day for scoring on a server; a server without a price costs nothing."""
    return Caps(per_run=None, per_month=None, per_day=nano_usd(settings.usd_per_day))


def chat_body(model: str, question: Question) -> dict[str, Any]:
    """Return the body of a chat completion that asks the vision model to score the post of ``question``."""
    text = question.text.removeprefix(f"{PICTURE}\n")
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if question.image is not None:
        encoded = base64.b64encode(question.image).decode()
        url = f"data:{media_type_of(question.image)};base64,{encoded}"
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }
