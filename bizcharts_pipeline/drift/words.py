"""A report in plain sentences, and as a table."""

from collections.abc import Sequence
from typing import Any

from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow
from bizcharts_pipeline.warehouse.previews import Preview

_TITLES = {
    "class mix": "Class mix, less what prices explain",
    "domain": "Texts: AUC of a classifier that tells the week apart",
    "unknown words": "Share of words unknown to the weeks before",
    "expected accuracy": "Accuracy that the model's own probabilities promise",
    "confidence": "Change of the model's confidence",
    "labels": "Accuracy on posts labelled at random",
}
_IN_PERCENT = {"unknown words", "expected accuracy", "labels"}
_AT_MOST_ONE = {"domain", "unknown words"}
_SHARES = ("bearish", "bullish", "expected_bearish", "expected_bullish")
_MIX = "{bearish} bearish and {bullish} bullish, expected {expected_bearish} and {expected_bullish}"
# Of each measure what is said while it is within its limits, and beyond them.
_PHRASES = {
    "class mix": (
        f"The class mix of the last 7 days is no farther than usual from what is expected from {{causes}}: {_MIX}.",
        f"The class mix of the last 7 days is farther than usual from what is expected from {{causes}}: {_MIX}. That "
        "is a change of the mood, not of the model.",
    ),
    "domain": (
        "The vocabulary of the last 7 days differs from the weeks before no more than usual: AUC {compared}.",
        "The vocabulary of the last 7 days differs from the weeks before more than usual: AUC {compared}.",
    ),
    "unknown words": (
        "In the last 7 days no more words than usual are unknown to the weeks before: {compared}.",
        "In the last 7 days more words than usual are unknown to the weeks before: {compared}.",
    ),
    "expected accuracy": (
        "By its own probabilities, the model is as often right in the last 7 days as before: {compared}.",
        "By its own probabilities, the model is less often right in the last 7 days than before: {compared}.",
    ),
    "confidence": (
        "The confidence of the model has not changed by more than chance: {compared}.",
        "The confidence of the model has changed: {compared}.",
    ),
    "labels": (
        "On {n} posts of the last {days} days, labelled at random, the model is as often right as at its evaluation: "
        "{compared}.",
        "On {n} posts of the last {days} days, labelled at random, the model is less often right than at its "
        "evaluation: {compared}.",
    ),
}
COLUMNS = ["measure", "value", "95 %", "expected", "limit", "exceeded", "n", "in words"]


def verdict_sentence(rows: Sequence[DriftRow]) -> str:
    """Return what a drift report adds up to, and how often such an alarm is false."""
    found = next((row for row in rows if row.measure == VERDICT), None)
    if found is None:
        return "There is no drift report yet: `maintenance` makes one a day, once a model has scored posts."
    rate = found.details["false_alarms_a_month"]
    chance = (
        f"At most {rate:.3g} false alarms a month are expected."
        if rate
        else "Nothing could be measured, so there can be no alarm."
    )
    if not found.alarm:
        return f"{found.day}: no drift alarm. {chance}"
    return (
        f"{found.day}: drift alarm since {found.details['since']}, raised by {_listed(found.details['by'])}. {chance}"
    )


def sentences(rows: Sequence[DriftRow]) -> list[str]:
    """Return a sentence for each measure of a drift report."""
    return [sentence(row) for row in rows if row.measure != VERDICT]


def sentence(row: DriftRow) -> str:
    """Return what a measure of drift says."""
    if row.value is None or row.threshold is None or row.reference is None:
        return f"Not measured: {row.details.get('reason', 'no reason is known')}."
    value, reference, limit = (_figure(row.measure, each) for each in (row.value, row.reference, row.threshold))
    compared = f"{value} (expected {reference}, limit {limit})"
    if row.measure in _AT_MOST_ONE and row.threshold >= 1:
        return f"{_TITLES[row.measure]}: {compared}. There are too few weeks before for a limit that can be exceeded."
    within, beyond = _PHRASES[row.measure]
    causes = "the weeks before and Bitcoin's returns" if row.details.get("prices") else "the weeks before, no prices"
    details = {**row.details, **{name: _percent(row.details[name], 0) for name in _SHARES if name in row.details}}
    return (beyond if row.alarm else within).format(n=row.n, compared=compared, causes=causes, **details)


def as_preview(rows: Sequence[DriftRow]) -> Preview:
    """Return the measures of a drift report as a table."""
    return Preview(COLUMNS, [tuple(as_record(row).values()) for row in rows if row.measure != VERDICT])


def as_record(row: DriftRow) -> dict[str, Any]:
    """Return a measure of drift as a row of the table, by column."""
    known = row.lo is not None and row.hi is not None
    between = f"{_figure(row.measure, row.lo)} to {_figure(row.measure, row.hi)}" if known else ""
    cells = (
        _TITLES.get(row.measure, row.measure),
        _figure(row.measure, row.value),
        between,
        _figure(row.measure, row.reference),
        _figure(row.measure, row.threshold),
        "yes" if row.alarm else "no",
        row.n,
        sentence(row),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def rising_terms(rows: Sequence[DriftRow]) -> Preview:
    """Return the terms that rose according to a drift report, candidates for the lexicon."""
    terms = [term for row in rows for term in row.details.get("rising_terms", ())]
    return Preview(
        ["term", "posts", "posts before", "standard errors", "examples"],
        [
            (each["term"], each["posts"], each["before"], each["z"], ", ".join(map(str, each["examples"])))
            for each in terms
        ],
    )


def _figure(measure: str, value: float | None) -> str:
    if value is None:
        return ""
    if measure in _IN_PERCENT:
        return _percent(value, 1)
    return f"{value:+.3f}" if measure == "confidence" else f"{value:.2f}"


def _percent(share: float, places: int) -> str:
    return f"{100 * share:.{places}f} %"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
