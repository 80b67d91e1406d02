"""Jobs of the names that schedules look for, which do nothing."""

import dagster as dg


@dg.op
def nothing() -> None: ...


@dg.job(name="live")
def quick_live() -> None:
    nothing()


@dg.job(name="history")
def quick_history() -> None:
    nothing()


@dg.job(name="training")
def quick_training() -> None:
    nothing()
