"""Prompts as versioned files, ``prompts/<version>.toml``. A prompt with answers is never changed."""

import hashlib
import json
import tomllib
from importlib.resources import files

from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.protocol import Prompt
from bizcharts_pipeline.autolabel.questions import QUESTION_FORMAT
from bizcharts_pipeline.labels.stances import STANCES

# Version of the providers' request format: answer schema, image detail, effort, filters. Increment it when they change.
REQUEST_FORMAT = 1


class PromptError(AutoLabelError):
    """The prompt does not exist, or its file is malformed."""


def load_prompt(version: str) -> Prompt:
    """Return a prompt for labelling models. Its hash covers the file's values, the classes and the format of questions.

    Raises:
        PromptError: the prompt does not exist, or its file is malformed.
    """
    folder = files("bizcharts_pipeline.autolabel") / "prompts"
    try:
        values = tomllib.loads((folder / f"{version}.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(path.name.removesuffix(".toml") for path in folder.iterdir()))
        raise PromptError(f"There is no prompt {version!r} in {folder}; available: {there}") from None
    except ValueError as error:
        raise PromptError(f"The prompt {version} cannot be read as TOML: {error}") from None
    system, most = values.get("system"), values.get("max_output_tokens")
    if not isinstance(system, str) or not isinstance(most, int) or set(values) != {"system", "max_output_tokens"}:
        raise PromptError(f"The prompt {version} must have `system` (text) and `max_output_tokens` (a number) only")
    content = json.dumps([values, STANCES, QUESTION_FORMAT, REQUEST_FORMAT], sort_keys=True)
    return Prompt(version, system.strip(), hashlib.sha256(content.encode()).hexdigest(), most)
