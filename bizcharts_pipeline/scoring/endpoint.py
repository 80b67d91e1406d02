"""A trained vision model on an OpenAI-compatible server, such as vLLM with the adapter under its model version as name.

The request has exactly the words of training (``text/question.py``) and the stored picture; one token is asked for, and
the log-probabilities of the classes' first tokens are the answer, as in ``training/onpod/scoring.py``.
"""

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.autolabel.budget import Caps, Limits
from bizcharts_pipeline.autolabel.cost import Terms
from bizcharts_pipeline.autolabel.prices import PriceBook
from bizcharts_pipeline.autolabel.protocol import Answer, Endpoint, Outcome, Price, Prompt, Question
from bizcharts_pipeline.autolabel.providers.access import Access
from bizcharts_pipeline.autolabel.providers.openai import HTML_PAGE, MAX_ANSWER_BYTES, openai_client, openai_failure
from bizcharts_pipeline.autolabel.providers.replies import first_token_answer, safe
from bizcharts_pipeline.core.addresses import address_problem
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.money import nano_usd
from bizcharts_pipeline.images.structure import media_type_of
from bizcharts_pipeline.settings import (
    ModelPriceSettings,
    OpenAISettings,
    VisionSettings,
    key_address_problem,
)
from bizcharts_pipeline.text.question import INSTRUCTION, PICTURE, WITH_PICTURE, WITHOUT_PICTURE

if TYPE_CHECKING:
    from openai import OpenAI

KEY = "VISION_API_KEY"
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

    def __init__(self, model_version: str, settings: VisionSettings) -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            NoEndpoint: address or key cannot be used.
        """
        access = endpoint_access(settings)
        self.model = model_version
        self._key = access.key
        self._client: OpenAI = openai_client(
            access, settings.timeout_seconds, settings.timeout_seconds, MAX_ANSWER_BYTES, settings.most_at_once
        )

    def ask(self, prompt: Prompt, question: Question) -> Answer:
        """Send one request, once, and return the answer; the body of a usable one is not kept."""
        try:
            reply = self._client.chat.completions.with_raw_response.create(**_request(self.model, question))
            if "html" in reply.headers.get("content-type", ""):
                answer = Answer(Outcome.TRANSIENT, reply.text, detail=HTML_PAGE, served=True)
            else:
                answer = first_token_answer(reply.text, reply.headers.get("x-request-id"))
        except Exception as error:
            answer = openai_failure(error, gateway=True)
        return safe(answer, self._key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def endpoint_access(settings: VisionSettings) -> Access:
    """Return address and key of the server; a server of your own may need no key.

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
    """Return the prompt under which the ledger stores answers. The instruction is part of each question, so it has no
    text of its own; its name and hash follow from the instruction."""
    sha256 = hashlib.sha256("\x1f".join((INSTRUCTION, WITH_PICTURE, WITHOUT_PICTURE)).encode()).hexdigest()
    return Prompt(f"scoring-{sha256[:8]}", "", sha256, max_output_tokens=1)


def endpoint_terms(model_version: str, settings: VisionSettings) -> Terms:
    """Return the server's prices, as the ledger reserves and charges them."""
    entry, output = settings.usd_per_million_input_tokens, settings.usd_per_million_output_tokens
    stated = {model_version: ModelPriceSettings(input=entry, output=output, cached_input=entry, cache_write=entry)}
    book = PriceBook(OpenAISettings(model=model_version, prices=stated), NAME, utc_now().date())
    return Terms(
        Price(entry, output, entry, entry),
        IMAGE_TOKENS,
        thinking_tokens=0,
        limits=Limits(_MANY, _MANY),
        batch_requests=0,
        model=model_version,
        in_batch=False,
        book=book,
    )


def endpoint_caps(settings: VisionSettings) -> Caps:
    """Return the cap of a day; a server without a price costs nothing."""
    return Caps(per_run=None, per_month=None, per_day=nano_usd(settings.usd_per_day))


def _request(model: str, question: Question) -> dict[str, Any]:
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
