"""The ``.env`` file at the repository root: environment variables for every command, job and schedule."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import is_special


class DotenvError(BizchartsError):
    """The file cannot be read, or a line of it is not NAME=value."""


def load_dotenv(path: Path) -> Collection[str]:
    """Load the variables of ``path`` into the environment; variables already set there, even to nothing, stay
    unchanged.

    A file that does not exist has no variables.

    Returns:
        The names of the file's variables.

    Raises:
        DotenvError: the file cannot be read, or a line is not NAME=value or repeats a name. Names the line without its
            content, which may be a key.
    """
    variables = _variables(path)
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    return variables.keys()


def _variables(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    if is_special(path):
        raise DotenvError(f"{path} cannot be read: it is not a regular file")
    from io import StringIO

    from dotenv.main import DotEnv
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DotenvError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    lines: dict[str, int] = {}
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line
        if binding.error or (binding.key is not None and binding.value is None):
            raise DotenvError(f"{path}, line {line}: not NAME=value; correct or remove the line")
        if "\0" in binding.original.string:
            raise DotenvError(f"{path}, line {line}: it has a null character; correct or remove the line")
        if binding.key is not None and lines.setdefault(binding.key, line) != line:
            raise DotenvError(f"{path}, line {line}: {binding.key} is in line {lines[binding.key]} already; remove one")
    values = DotEnv(None, stream=StringIO(text), override=False).dict()
    return {name: value for name, value in values.items() if value is not None}
