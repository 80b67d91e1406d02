"""What the resources of RunPod's REST API v2 have in common: lists in pages, error statuses, requested pauses."""

from collections.abc import Callable, Mapping
from typing import Any

from bizcharts_pipeline.pods.errors import AccessDenied, ApiGone, OutOfFunds, PodError, Uncertain
from bizcharts_pipeline.pods.providers.rest_http import Reply, ask

MAX_PAGES = 100
_WAITS = 3  # retries after "too many requests", each after the requested pause
_LONGEST_WAIT = 30.0  # seconds; a request with a longer requested pause fails
_WAIT = 2.0  # seconds, if the response names no pause


class Busy(Uncertain):
    """Too many requests (429). ``retry_after`` is the requested pause in seconds, if given."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RestApi:
    """Requests to the API. One that was refused with "too many requests" (429), and so not executed, is retried up to
    three times after the requested pause, if that is short.

    Raises:
        ApiGone: from every method: the API as a whole answers 410, or 404 to a request for one of ``collections``.
    """

    def __init__(self, collections: tuple[str, ...], sleep: Callable[[float], None]) -> None:
        self._collections, self._sleep = collections, sleep

    def ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None) -> Reply:
        """Return the response of RunPod's REST API to a request."""
        for _ in range(_WAITS):
            reply = ask(method, path, query=query, body=body)
            wait = _WAIT if reply.retry_after is None else reply.retry_after
            if reply.status != 429 or wait > _LONGEST_WAIT:
                break
            self._sleep(wait)
        else:
            reply = ask(method, path, query=query, body=body)
        if reply.status == 410 or (reply.status == 404 and path in self._collections):
            off = "was switched off" if reply.status == 410 else "seems to be switched off"
            raise ApiGone(f"RunPod's REST API {off} ({reply.status}): {reply.detail}")
        return reply

    def every(self, path: str, name: str) -> list[Any]:
        """Return the entries of a list of RunPod's REST API on all its pages; one that moves between pages counts
        once."""
        entries: dict[str, Any] = {}
        cursors: list[str] = []
        for _ in range(MAX_PAGES):
            reply = self.ask("GET", path, query={"cursor": cursors[-1]} if cursors else None)
            for entry in listed(reply, name):
                key = str(entry.get("id")) if isinstance(entry, Mapping) else f"no entry {len(entries)}"
                entries[key] = entry
            cursor = _next_page(reply.body, name)
            if cursor is None:
                return list(entries.values())
            if cursor in cursors:
                raise Uncertain(f"RunPod's list of {name} repeats a page; try again later.")
            cursors.append(cursor)
        raise Uncertain(f"RunPod's list of {name} has more than {MAX_PAGES} pages; try again later.")


def is_unknown(reply: Reply) -> bool:
    """Return whether RunPod's API itself reports an unknown id; a 404 page may come from a proxy."""
    return reply.status == 404 and isinstance(reply.body, Mapping)


def refused(reply: Reply) -> PodError:
    """Return the error for an unsuccessful response of RunPod; if it proves nothing, it is Uncertain."""
    if reply.status == 401:
        return AccessDenied("RunPod does not accept the key; check RUNPOD_API_KEY.")
    if reply.status == 402:
        return OutOfFunds(f"RunPod requires payment: {reply.detail}")
    if reply.status == 403:
        return AccessDenied(f"RunPod's key lacks the permission: {reply.detail}")
    if reply.status == 429:
        wait = f"{reply.retry_after:g} s" if reply.retry_after is not None else "a while"
        return Busy(f"RunPod received too many requests; it requests a pause of {wait}.", reply.retry_after)
    return Uncertain(f"RunPod answered {reply.status}: {reply.detail}")


def listed(reply: Reply, name: str) -> list[Any]:
    """Return the list ``name`` in a response of RunPod's REST API.

    Raises:
        PodError: there is none.
    """
    if reply.status != 200:
        raise refused(reply)
    if not isinstance(reply.body, Mapping) or not isinstance(reply.body.get(name), list):
        raise Uncertain(f"RunPod's answer is not a list of {name}: {reply.detail}")
    return list(reply.body[name])


def _next_page(body: Mapping[str, Any], name: str) -> str | None:
    """Return the cursor of the next page; ``None`` on the last or only page.

    Raises:
        Uncertain: this cannot be determined; an incomplete list must not pass for a complete one.
    """
    if "pagination" not in body and not body.get("nextCursor"):
        return None  # as in August 2026: all pods in one response
    pages = body.get("pagination")
    if isinstance(pages, Mapping):
        more, cursor = pages.get("hasNextPage"), pages.get("nextCursor")
        if more is False:
            return None
        if more is True and isinstance(cursor, str) and cursor:
            return cursor
    raise Uncertain(f"The pagination of RunPod's list of {name} cannot be parsed; set pods.api to 'graphql'.")
