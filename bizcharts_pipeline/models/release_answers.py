"""Checks GitHub's answers about releases before anything in them is used: a proxy or another server may answer."""

from collections.abc import Mapping
from typing import Any

from bizcharts_pipeline.models.github import Uncertain

_RELEASE: Mapping[str, type] = {"id": int, "tag_name": str, "draft": bool, "html_url": str, "upload_url": str}
_ASSET: Mapping[str, type] = {"id": int, "name": str, "state": str, "size": int}


def read_release(answer: Any) -> Mapping[str, Any]:
    """Return GitHub's ``answer`` if it describes a release: an integer ``id``, ``tag_name``, ``draft`` and its two
    addresses.

    Raises:
        Uncertain: the answer does not.
    """
    return _checked(answer, _RELEASE, "a release")


def read_releases(answer: Any) -> list[Mapping[str, Any]]:
    """Return GitHub's ``answer`` if it is a list of releases.

    Raises:
        Uncertain: the answer is not.
    """
    return [read_release(each) for each in _list(answer, "releases")]


def read_asset(answer: Any) -> Mapping[str, Any]:
    """Return GitHub's ``answer`` if it describes a file of a release: ``id``, ``name``, ``state``, ``size`` in bytes.

    Raises:
        Uncertain: the answer does not.
    """
    return _checked(answer, _ASSET, "a file of a release")


def read_assets(answer: Any) -> list[Mapping[str, Any]]:
    """Return GitHub's ``answer`` if it is a list of files of a release.

    Raises:
        Uncertain: the answer is not.
    """
    return [read_asset(each) for each in _list(answer, "files of a release")]


def _checked(answer: Any, fields: Mapping[str, type], what: str) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise _unreadable(what)
    for name, kind in fields.items():
        value = answer.get(name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 2**63):
            raise _unreadable(what, name)
    return answer


def _list(answer: Any, what: str) -> list[Any]:
    if not isinstance(answer, list):
        raise _unreadable(f"a list of {what}")
    return answer


def _unreadable(what: str, field: str = "") -> Uncertain:
    where = f" ({field!r} is missing or has a wrong value)" if field else ""
    return Uncertain(f"GitHub's answer is not {what}{where}; is a proxy in between? Check api_url of [ml.release].")
