"""Metadata of runs for the UI: tables, pictures, durations and check results."""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from bizcharts_pipeline.warehouse.previews import Preview

_MARKDOWN_SPECIALS = {ord(character): f"\\{character}" for character in "\\`*_{}[]()#+-!|<>&~"}


class Stopwatch:
    """Measures the named steps of one materialisation: ``with stopwatch("write"): …``."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[step] = self._seconds.get(step, 0.0) + time.perf_counter() - started

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Return one number for each step, which the UI plots over the materialisations."""
        return {f"seconds: {step}": dg.MetadataValue.float(round(s, 3)) for step, s in self._seconds.items()}


def table(preview: Preview) -> dg.MarkdownMetadataValue:
    """Return a preview as a Markdown table; external text is escaped."""
    lines = [preview.columns, ["---"] * len(preview.columns)]
    lines += [["" if cell is None else str(cell).translate(_MARKDOWN_SPECIALS) for cell in row] for row in preview.rows]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))


def picture(svg: str, alternative_text: str) -> dg.MarkdownMetadataValue:
    """Return an SVG drawing as Markdown that the UI shows inline."""
    data = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"![{alternative_text}](data:image/svg+xml;base64,{data})")


def by_thread(reasons: Mapping[int, str]) -> dict[str, str]:
    """Return the reasons by thread as metadata, limited to one hundred."""
    return {str(thread): reason for thread, reason in sorted(reasons.items())[:100]}


def check(
    offenders: Sequence[object],
    *,
    asset: str | None = None,
    name: str | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Return a check that passes without offenders, and otherwise lists the first ones.

    ``asset`` and ``name`` are for a check made by an asset itself; ``metadata`` is shown in addition to the offenders.
    """
    offending = {"offenders": ", ".join(str(offender) for offender in offenders[:20])} if offenders else {}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not offenders,
        severity=severity,
        metadata={**offending, **(metadata or {})},
    )
