"""The report as one HTML page: no script, nothing loaded, every name escaped."""

from collections.abc import Sequence

from bizcharts_pipeline.exports.pages import MAX_NAME, document, html_table
from bizcharts_pipeline.lab.plots import event_plot, lags_plot
from bizcharts_pipeline.lab.report import DISCLAIMER, QUESTION, Part, Report, percent, probability
from bizcharts_pipeline.lab.strategies import Comparison
from bizcharts_pipeline.lab.study import Study, Tested
from bizcharts_pipeline.text.untrusted import as_html

TITLE = "Does the mood lead the price?"
SHOWN_TESTS = 30
MAX_SENTENCE = 400


def report_page(report: Report) -> str:
    """Return the page of a backtest's report."""
    answer, *sentences = report.first_lines
    as_of = f", as of {report.as_of:%Y-%m-%d %H:%M} UTC" if report.as_of else ""
    parts = [
        f"<h1>{_text(QUESTION)}</h1>",
        f'<p class="now">{_text(answer.removeprefix(QUESTION))}</p>',
        *(f"<p>{_text(sentence)}</p>" for sentence in sentences),
        *_details(report.parts[0]),
        *(html for part in report.parts[1:] for html in _part(part)),
        f"<footer><p>Made at {report.made_at:%Y-%m-%d %H:%M} UTC{as_of}; seed {report.seed}. docs/lab.md has the "
        f"methods, and what not to conclude. {DISCLAIMER}</p></footer>",
    ]
    return document(TITLE, parts)


def _part(part: Part) -> list[str]:
    sentences = (f"<p>{_text(sentence)}</p>" for sentence in part.sentences)
    return [f"<h2>{_text(part.heading)}</h2>", *sentences, *_details(part)]


def _details(part: Part) -> list[str]:
    html: list[str] = []
    if part.studies:
        html += [_studies(part.studies), lags_plot(part.studies[0].forward, part.studies[0].reverse)]
        html += [event_plot(event) for event in part.studies[0].events]
    if part.comparison:
        html += _rules(part.comparison)
    if part.forward:
        html += ["<h3>Tests from mood to following prices</h3>", _tests(part.forward)]
        html += ["<h3>Tests from price to following moods</h3>", _tests(part.reverse)]
    if part.unstudied:
        rows = [[_name(each.name), _name(each.price), f"{each.days:,}", _text(each.reason)] for each in part.unstudied]
        html += ["<h3>Not studied</h3>", html_table(["mood", "price", "days", "why"], rows, "words")]
    return html


def _studies(studies: Sequence[Study]) -> str:
    columns = [
        "mood",
        "price",
        "days",
        "effect over 3 d",
        "95 %",
        "R² out of sample",
        "p (CW)",
        "ADF p",
        "KPSS p",
        "placebo p",
    ]
    return html_table(columns, [_study_row(study) for study in studies])


def _study_row(study: Study) -> list[str]:
    effect, forecast, placebo = study.effect, study.forecast, study.placebo
    return [
        _name(study.name),
        _name(study.price),
        f"{study.days:,}",
        percent(effect.estimate) if effect else "-",
        f"{percent(effect.lo)} to {percent(effect.hi)}" if effect else "-",
        f"{100 * forecast.r2:+.2f} %" if forecast else "-",
        probability(forecast.p) if forecast else "-",
        probability(study.stationarity.adf_p),
        probability(study.stationarity.kpss_p),
        probability(placebo.p) if placebo else "-",
    ]


def _rules(comparison: Comparison) -> list[str]:
    hold = [
        "hold",
        f"{100 * comparison.hold_mean_a_year:+.1f} %",
        f"{comparison.hold_sharpe:.2f}",
        "100 %",
        "-",
        "-",
        "-",
    ]
    rows = [
        [
            _name(rule.rule),
            f"{100 * rule.mean_a_year:+.1f} %",
            f"{rule.sharpe:.2f}",
            f"{100 * rule.exposure:.0f} %",
            f"{rule.trades_a_year:.0f}",
            "-" if rule.deflated_sharpe is None else f"{rule.deflated_sharpe:.2f}",
            _text(rule.words),
        ]
        for rule in comparison.rules
    ]
    columns = ["rule", "mean a year", "Sharpe", "days held", "trades a year", "deflated Sharpe", "what it does"]
    return [
        "<h3>Trading rules after costs</h3>",
        f"<p>That no rule beats holding: p {probability(comparison.p)} (SPA). The deflated Sharpe ratio is the "
        f"probability that a rule is better than the luckiest of {comparison.trials:,} trials, all that were ever run "
        "here.</p>",
        html_table(columns, [hold, *rows], "words"),
    ]


def _tests(tests: Sequence[Tested]) -> str:
    shown = [
        [
            _name(test.series),
            _name(test.price),
            probability(test.p),
            probability(test.adjusted_p),
            "yes" if test.found else "no",
            _text(test.what),
        ]
        for test in tests[:SHOWN_TESTS]
    ]
    more = len(tests) - len(shown)
    table = html_table(["mood", "price", "p", "adjusted p", "holds", "test"], shown, "words")
    return table + (f"<p>{more:,} more tests, with larger p, are in the JSON file.</p>" if more else "")


def _name(text: str) -> str:
    return f"<bdi>{as_html(text, MAX_NAME)}</bdi>"


def _text(text: str) -> str:
    return as_html(text, MAX_SENTENCE)
