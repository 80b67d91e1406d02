"""The providers of vision models: OpenAI and Gemini, behind one small protocol."""

from collections.abc import Callable

from bizcharts_pipeline.autolabel.errors import KeyMissing
from bizcharts_pipeline.autolabel.protocol import BatchProvider, Provider
from bizcharts_pipeline.autolabel.providers.access import access
from bizcharts_pipeline.settings import Settings


def open_providers(settings: Settings) -> dict[str, Provider | BatchProvider]:
    """Return the providers that are to label and have a key, by name, in the order of
    ``settings.auto_labels.providers``; :func:`missing_keys` says which have none.

    Keys and addresses come from the environment at this moment; each is to be closed. A provider whose endpoint is
    ``batch`` is a :class:`BatchProvider`.

    Raises:
        AutoLabelError: none has a key, or an address or a proxy cannot be used; nothing was opened.
    """
    openers: dict[str, Callable[[Settings], Provider | BatchProvider]] = {"openai": _openai, "gemini": _gemini}
    wanted = list(dict.fromkeys(settings.auto_labels.providers))
    missing = _missing(settings)
    if wanted and len(missing) == len(wanted):
        raise KeyMissing(" ".join(missing.values()))
    return {name: openers[name](settings) for name in wanted if name not in missing}


def missing_keys(settings: Settings) -> list[str]:
    """Return of each provider that is to label and has no key what to do about it."""
    return list(_missing(settings).values())


def _missing(settings: Settings) -> dict[str, str]:
    missing: dict[str, str] = {}
    for name in settings.auto_labels.providers:
        try:
            access(name)
        except KeyMissing as error:
            missing[name] = str(error)
    return missing


def _openai(settings: Settings) -> Provider | BatchProvider:
    from bizcharts_pipeline.autolabel.providers.openai import OpenAIProvider
    from bizcharts_pipeline.autolabel.providers.openai_batch import OpenAIBatches

    chosen, labels = settings.openai, settings.auto_labels
    if chosen.endpoint == "batch":
        return OpenAIBatches(access("openai"), chosen.model, labels.timeout_seconds)
    return OpenAIProvider(access("openai"), chosen.model, chosen.endpoint, labels.timeout_seconds, labels.most_at_once)


def _gemini(settings: Settings) -> Provider | BatchProvider:
    from bizcharts_pipeline.autolabel.providers.gemini import GeminiBatches, GeminiProvider

    chosen, labels = settings.gemini, settings.auto_labels
    if chosen.endpoint == "batch":
        return GeminiBatches(access("gemini"), chosen.model, labels.timeout_seconds)
    return GeminiProvider(access("gemini"), chosen.model, labels.timeout_seconds, labels.most_at_once)
