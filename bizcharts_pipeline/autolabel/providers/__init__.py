"""Providers of vision models: OpenAI and Gemini, behind one protocol."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec

from bizcharts_pipeline.autolabel.errors import KeyMissing, SdkMissing
from bizcharts_pipeline.autolabel.protocol import BatchProvider, Provider
from bizcharts_pipeline.autolabel.providers.access import access
from bizcharts_pipeline.settings import Provider as Name
from bizcharts_pipeline.settings import Settings

_SDKS: dict[Name, str] = {"openai": "openai", "gemini": "google.genai"}


def open_providers(settings: Settings) -> dict[str, Provider | BatchProvider]:
    """Return the configured providers of labels that have a key, by name, in the order of
    ``settings.auto_labels.providers``; :func:`missing_keys` lists the others.

    Keys and addresses are read from the environment at the time of the call. The caller closes each provider. A
    provider with the endpoint ``batch`` is a :class:`BatchProvider`.

    Raises:
        AutoLabelError: no provider has a key, an SDK is not installed, or an address or a proxy cannot be used;
            nothing was opened.
    """
    openers: dict[str, Callable[[Settings], Provider | BatchProvider]] = {"openai": _openai, "gemini": _gemini}
    wanted = list(dict.fromkeys(settings.auto_labels.providers))
    missing = _missing(settings)
    if wanted and len(missing) == len(wanted):
        raise KeyMissing(" ".join(missing.values()))
    present = [name for name in wanted if name not in missing]
    require_sdks(present)
    return {name: openers[name](settings) for name in present}


def require_sdks(names: Iterable[Name]) -> None:
    """Check that the SDKs of these providers of labels are installed.

    Raises:
        SdkMissing: one is missing; the message says how to install it.
    """
    if missing := [sdk for name in names if not _is_installed(sdk := _SDKS[name])]:
        raise SdkMissing(
            f"The SDK {' and '.join(missing)} is not installed but required for labelling by models: run "
            "`make install-auto-labels`."
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def missing_keys(settings: Settings) -> list[str]:
    """Return, for each configured provider of labels without an API key, a hint how to set it."""
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
