"""``bizcharts demo``: the whole pipeline on a simulated board."""

import os
from pathlib import Path

import click

from bizcharts_pipeline.cli.output import as_json, number, print_table, to_json
from bizcharts_pipeline.core.progress import on_terminal
from bizcharts_pipeline.settings import REPOSITORY_ROOT, load_settings


@click.command()
@click.option("--days", type=click.IntRange(65, 365), default=90, show_default=True, help="Simulated days of history.")
@click.option("--full", is_flag=True, help="Also train models, one of them on a simulated pod; takes minutes longer.")
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the last demo, whose board continues.")
@click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True, help="Port of the UI.")
@as_json
def demo(days: int, full: bool, ui: bool, port: int, json_output: bool) -> None:
    """Run the entire pipeline on a simulated board.

    Its mood is known. The demo uses no network but loopback, and a home of its own. Each run replaces the last demo;
    --ui shows the last one.
    """
    if ui:
        from bizcharts_pipeline.demo.ui import open_ui

        settings = load_settings()
        open_ui(settings.home_path / "demo", Path(os.environ["DAGSTER_HOME"]) / "demo", port, click.echo)
        return
    from bizcharts_pipeline.demo.run import run_demo

    report = run_demo(load_settings(), history_days=days, full=full, track=on_terminal)
    if json_output:
        click.echo(to_json(report))
        return
    click.echo("\nFear/Greed index of the simulated board by UTC day, beside the day's hidden mood:\n")
    print_table(
        ["day (UTC)", "index", "90 %", "stance", "posts", "mood", "class"],
        [
            [
                f"{day.day:%Y-%m-%d}" + ("" if day.final else " *"),
                number(day.value),
                "-" if day.value is None else f"{number(day.lo)} to {number(day.hi)}",
                "-" if day.stance is None else f"{day.stance:+.2f}",
                f"{day.posts}",
                f"{day.mood:+.2f}",
                day.short,
            ]
            for day in report.days
        ],
    )
    click.echo("\n" + "\n".join(report.notes))
    click.echo(
        "The index ranks the stance of the posts among the days before. This board is\n"
        "bearish on most days, so a stance below 0 can be Greed. The mood is on another\n"
        "scale: compare how it moves."
    )
    found = report.recovery
    seen, kept = report.archive, report.pictures.get("stored", 0)
    click.echo(
        f"""
Over {found.hours:,} hours with an index: correlation of stance and hidden mood
{found.stance_correlation:.2f}, rank correlation of index and mood {found.index_correlation:.2f}. The 90 %
interval of the stance contains the true one in {found.coverage:.0%} of these hours.
Threads of {seen.day}: {seen.live_threads} live, {seen.archive_threads} archived, {seen.both_threads} in both.
Pictures kept: {kept} of {sum(report.pictures.values())}. Prices stored: {report.prices}.
{report.labels}
All of this took {report.seconds:.0f} s."""
    )
    if report.training:
        click.echo("\nModels on the gold posts of the two simulated people:\n")
        print_table(
            ["model", "", "posts", "right (95 %)", "macro-F1"],
            [
                [
                    model.model_version,
                    model.status,
                    f"{model.gold_posts}",
                    f"{model.accuracy:.2f} ({model.accuracy_lo:.2f} to {model.accuracy_hi:.2f})",
                    f"{model.macro_f1:.2f}",
                ]
                for model in report.training.models
            ],
        )
        click.echo("\nThe bill of the simulated pods; the first order was reported as failed, but executed:\n")
        click.echo(report.training.bill.table())
    elsewhere = [
        f"{name}={folder.parent} "
        for name, folder, usual in (
            ("BIZCHARTS_HOME", report.home, "data"),
            ("DAGSTER_HOME", report.dagster_home, "dagster_home"),
        )
        if folder.parent != REPOSITORY_ROOT / usual
    ]
    demo_ui = f"{''.join(elsewhere)}.venv/bin/bizcharts demo --ui"
    bizcharts_here = f"BIZCHARTS_HOME={report.home} .venv/bin/bizcharts"
    click.echo(
        f"""
data     {report.home}
picture  {report.plot}
next     the app on this data, in the browser:
           BIZCHARTS_HOME={report.home} make app
         the Dagster UI on this data, with runs, partitions and the plot:
           {demo_ui}
         the numbers again, or for a program (--json, --csv):
           {bizcharts_here} index
         label some of its posts:
           {bizcharts_here} label
         train models on these labels, text_ensemble among them (README):
           .venv/bin/bizcharts demo --full
         go live: make serve"""
    )
