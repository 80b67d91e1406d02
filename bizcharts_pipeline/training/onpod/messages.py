"""Progress messages: through dagster-pipes if Dagster started the process, and always as JSON lines in the log."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Say(Protocol):
    """Reports a message of a kind: ``say("metrics", step=3, loss=0.7)``."""

    def __call__(self, kind: str, **values: Any) -> None: ...


def _say_to_log(kind: str, **values: Any) -> None:
    print(json.dumps({"kind": kind, **values}), flush=True)


@contextmanager
def reporting() -> Iterator[Say]:
    """Yield the function that reports a training's progress; an exception inside is reported too, as the last
    message."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield _say_to_log
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:

        def say(kind: str, **values: Any) -> None:
            _say_to_log(kind, **values)
            context.report_custom_message({"kind": kind, **values})

        yield say
