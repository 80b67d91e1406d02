"""Lab: whether the index says anything about the next days' prices, as the stored report found."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.frame import View, explained, foot, open_view
from bizcharts_pipeline.app.queries.lab import backtest
from bizcharts_pipeline.app.theme import DASH, change, interval, moment
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.lab.leadlag import LeadLag
from bizcharts_pipeline.lab.report import Part, Report, probability
from bizcharts_pipeline.lab.strategies import Comparison
from bizcharts_pipeline.lab.study import Study, Tested

SHOWN_TESTS = 30
MAX_SENTENCE = 400
READ = """
- **adjusted p**: how often chance alone would show as much, after counting every test that was made. Below 0.05 counts.
- **No** means: nothing was found that chance could not explain. A small effect can still be there.
- **Yes** means: something held in the past, after all adjustments. It does not mean that trading on it earns money.
- **placebo**: the same tests on a mood that cannot know the price. They must find nothing.
"""


def page() -> None:
    """Draw the app's page Lab."""
    view = open_view("Lab")
    with explained():
        report = backtest(view.settings.home_path, view.as_of)
    if report is None:
        _missing(view)
        foot()
        return
    answer, *sentences = report.first_lines
    st.header(as_markdown(answer), anchor=False)
    for sentence in sentences:
        st.markdown(as_markdown(sentence, MAX_SENTENCE))
    _figures(report)
    with st.expander("How to read this"):
        st.markdown(READ)
    _details(report.parts[0])
    for part in report.parts[1:]:
        st.header(as_markdown(part.heading), anchor=False)
        for sentence in part.sentences:
            st.markdown(as_markdown(sentence, MAX_SENTENCE))
        _details(part)
    st.caption(
        f"Made at {moment(report.made_at, view.zone)}; seed {report.seed}. Only what was knowable at each day's end is "
        "used. docs/lab.md has the methods, and what not to conclude."
    )
    foot()


def _missing(view: View) -> None:
    if view.as_of:
        st.write(
            f"No report was made as of this moment yet. `bizcharts backtest --as-of {view.as_of.isoformat()}` makes "
            "one; it counts as a further trial of each trading rule."
        )
        return
    st.write("No report was made yet. Run `make install-lab` once, then `bizcharts backtest`; it takes a minute.")


def _figures(report: Report) -> None:
    with st.container(horizontal=True):
        for name, figure in report.figures.items():
            said = f"{figure:,}" if isinstance(figure, int) else probability(figure)
            st.metric(name[:1].upper() + name[1:], said, border=True)


def _details(part: Part) -> None:
    if part.studies:
        first = part.studies[0]
        st.dataframe([_study(each) for each in part.studies], hide_index=True, alt=f"What was found of {part.title}")
        st.caption("Who leads whom, by days. A t-value beyond ±2 is unusual for a single test.")
        st.dataframe(_lags(first.forward, first.reverse), hide_index=True, width="content", alt=f"Lags of {part.title}")
    if part.comparison:
        _rules(part.comparison)
    if part.forward:
        with st.expander(f"{counted(len(part.forward), 'test')} from mood to following prices"):
            st.dataframe(_tests(part.forward), hide_index=True, alt=f"Tests of {part.title}, smallest p first")
    if part.unstudied:
        with st.expander(f"{counted(len(part.unstudied), 'pair')} not studied"):
            st.dataframe(
                [{"mood": each.title, "price": each.price, "reason": each.reason} for each in part.unstudied],
                hide_index=True,
                alt=f"What was not studied of {part.title}, and why",
            )


def _study(study: Study) -> dict[str, Any]:
    effect, forecast, placebo = study.effect, study.forecast, study.placebo
    return {
        "mood": study.name,
        "price": study.price,
        "days": study.days,
        "from": study.first_day,
        "to": study.last_day,
        "price after a higher mood, %": change(100 * effect.estimate, 2) if effect else DASH,
        "95 %": interval(change(effect.lo * 100, 2), change(effect.hi * 100, 2)) if effect else DASH,
        "forecast better than the mean by, %": change(100 * forecast.r2, 2) if forecast else DASH,
        "p (Clark-West)": probability(forecast.p) if forecast else DASH,
        "p (placebo)": probability(placebo.p) if placebo else DASH,
    }


def _lags(forward: LeadLag, reverse: LeadLag) -> list[dict[str, Any]]:
    return [
        {"days": mood.lag, "mood leads, t": change(mood.t, 1), "price leads, t": change(price.t, 1)}
        for mood, price in zip(forward.by_lag, reverse.by_lag, strict=False)
    ]


def _rules(comparison: Comparison) -> None:
    st.caption(
        f"Trading rules, fixed in advance, after costs. That none beats holding: p {probability(comparison.p)}. The "
        f"last column is the probability that a rule is better than the luckiest of all {comparison.trials:,} trials "
        "ever run here; below 0.95 it may be luck."
    )
    hold = {
        "rule": "hold",
        "what it does": "hold always",
        "mean a year, %": change(100 * comparison.hold_mean_a_year, 1),
        "Sharpe": change(comparison.hold_sharpe, 2),
        "deflated Sharpe": DASH,
    }
    rules = [
        {
            "rule": each.rule,
            "what it does": each.words,
            "mean a year, %": change(100 * each.mean_a_year, 1),
            "Sharpe": change(each.sharpe, 2),
            "deflated Sharpe": DASH if each.deflated_sharpe is None else f"{each.deflated_sharpe:.2f}",
        }
        for each in comparison.rules
    ]
    st.dataframe([hold, *rules], hide_index=True, alt="Trading rules beside holding")


def _tests(tests: Sequence[Tested]) -> list[dict[str, Any]]:
    return [
        {
            "mood": test.series,
            "price": test.price,
            "test": test.what,
            "p": probability(test.p),
            "adjusted p": probability(test.adjusted_p),
            "holds": "yes" if test.found else "no",
        }
        for test in tests[:SHOWN_TESTS]
    ]
