"""Deploys, scales and deletes this installation's endpoint, and deletes endpoints that are not recorded as deployed.

An endpoint's name contains the installation and the model (as `pods.names`), and the ledger has it before it is
ordered: one that results from a lost answer is found by its name, adopted by the next `deploy`, or deleted by the
reaper.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.endpoints.control import MOST_WORKERS, Control, Endpoint, EndpointGone
from bizcharts_pipeline.endpoints.ledger import LEDGER, EndpointLedger, EndpointRow
from bizcharts_pipeline.endpoints.queue import Queue
from bizcharts_pipeline.pods.errors import AccessDenied, PodError, Uncertain, WrongSetting
from bizcharts_pipeline.pods.identity import installation_id, job_key
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.names import key_of, pod_name
from bizcharts_pipeline.pods.reaper import ReapReport
from bizcharts_pipeline.settings import Settings

FOLDER = Path("endpoints")  # below the home, for the lock
_SUFFIX = "-scoring"  # so that no worker has a name that the reaper of pods takes for a pod's
_FLASHBOOT = " -fb"  # RunPod appends it to some names
_LOOKS, _PAUSE_SECONDS = 4, 5.0  # for an endpoint whose order was not answered


class UnknownEndpoint(PodError):
    """This installation has no such endpoint."""


def deploy(
    settings: Settings, model_version: str, control: Control, now: datetime, sleep: Callable[[float], None] = time.sleep
) -> EndpointRow:
    """Create the serverless endpoint of a model, or adopt and update the one that is there.

    Raises:
        WrongSetting: no container image is set.
        PodError: it was not deployed; a repetition continues.
    """
    if not settings.endpoint.image:
        raise WrongSetting("`image` of [endpoint] is empty; build one from deploy/serverless (docs/vision-scoring.md).")
    home, chosen = settings.home_path, settings.endpoint
    with hold(home / FOLDER):
        ledger = EndpointLedger(home / LEDGER)
        price = control.usd_per_hour(chosen.pools)
        name = _name(settings, model_version)
        there = _named(control, name)
        limits = (chosen.idle_seconds, chosen.start_seconds, chosen.job_seconds)
        row = EndpointRow(name, model_version, None, price, *limits)
        before = next((each for each in ledger.rows() if each.name == name and each.state == "deployed"), None)
        in_use = [each for each in there if before and each.endpoint_id == before.endpoint_id]
        # An endpoint in use stays deployed: the reaper must not delete it if the update fails or is killed.
        ledger.write(_at_most(row, before) if before and in_use else row, now)
        endpoint = next(iter(in_use or there), None) or _create(control, name, settings, sleep)
        if there:
            control.update(endpoint.endpoint_id, chosen)
        row = replace(row, endpoint_id=endpoint.endpoint_id, state="deployed")
        ledger.write(row, now)
        return row


def scale(settings: Settings, endpoint_id: str, most: int, control: Control, now: datetime) -> EndpointRow:
    """Set the maximum of workers of a serverless endpoint (0: none, and waiting jobs are removed) and the idle time of
    the settings.

    Raises:
        PodError: it was not scaled.
    """
    with hold(settings.home_path / FOLDER):
        ledger = EndpointLedger(settings.home_path / LEDGER)
        row = _deployed(ledger, endpoint_id)
        idle = settings.endpoint.idle_seconds
        price = control.usd_per_hour(settings.endpoint.pools)
        changed = replace(row, idle_seconds=idle, usd_per_hour=price)
        ledger.write(_at_most(changed, row), now)
        control.scale(endpoint_id, most, idle)
        if not most:
            Queue(endpoint_id).purge()
        ledger.write(changed, now)
        return changed


def delete(settings: Settings, endpoint_id: str, control: Control, now: datetime) -> None:
    """Delete a serverless endpoint. The ledger says so first, so that the reaper completes a deletion that was
    interrupted.

    Raises:
        PodError: it was not deleted, or that is not known.
    """
    with hold(settings.home_path / FOLDER):
        ledger = EndpointLedger(settings.home_path / LEDGER)
        row = _deployed(ledger, endpoint_id)
        ledger.write(replace(row, state="deleted"), now)
        _delete(control, endpoint_id)


def reap(settings: Settings, open_control: Callable[[], Control] = Control) -> ReapReport | None:
    """Delete each serverless endpoint of this installation that is not deployed according to the ledger, and let none
    keep a worker without work; ``None`` if this installation has never ordered one.

    Raises:
        PodError: the list of endpoints or the ledger cannot be read.
    """
    if not is_known(settings.home_path / LEDGER):
        return None
    report = ReapReport((), (), ())
    try:
        with hold(settings.home_path / FOLDER):
            rows = {row.name: row for row in EndpointLedger(settings.home_path / LEDGER).rows()}
            try:
                control = open_control()
            except AccessDenied:
                if any(row.state != "deleted" for row in rows.values()):
                    raise
                return None
            for endpoint in control.every():
                name = endpoint.name.removesuffix(_FLASHBOOT)
                if name in rows or _is_ours(settings, name):
                    report += _reaped(control, endpoint, rows.get(name))
    except JobBusy:  # it is being deployed, scaled or deleted
        return report
    return report


def _reaped(control: Control, endpoint: Endpoint, row: EndpointRow | None) -> ReapReport:
    endpoint_id = endpoint.endpoint_id
    try:
        if row is None or row.state != "deployed" or row.endpoint_id != endpoint_id:
            _delete(control, endpoint_id)
            return ReapReport((endpoint_id,), (), ())
        if endpoint.workers_min > 0 or endpoint.workers_max > MOST_WORKERS:
            control.scale(endpoint_id, MOST_WORKERS, row.idle_seconds)
    except PodError as error:
        return ReapReport((), (), (f"{endpoint_id}: {reason_of(error)}",))
    return ReapReport((), (endpoint_id,), ())


def _at_most(changed: EndpointRow, before: EndpointRow) -> EndpointRow:
    """Return the endpoint of ``before`` with the longer times and the higher price of both: what is booked until RunPod
    has confirmed a change."""
    return replace(
        before,
        usd_per_hour=max(changed.usd_per_hour, before.usd_per_hour),
        idle_seconds=max(changed.idle_seconds, before.idle_seconds),
        start_seconds=max(changed.start_seconds, before.start_seconds),
        job_seconds=max(changed.job_seconds, before.job_seconds),
    )


def _create(control: Control, name: str, settings: Settings, sleep: Callable[[float], None]) -> Endpoint:
    try:
        return control.create(name, settings.endpoint)
    except Uncertain as error:
        for _ in range(_LOOKS):
            sleep(_PAUSE_SECONDS)
            if there := _named(control, name):
                return there[0]
        raise Uncertain(
            f"{str(error).rstrip('.')}. The endpoint {name} may exist: repeat `bizcharts endpoint deploy`, "
            "which adopts it; otherwise the reaper deletes it."
        ) from None


def _delete(control: Control, endpoint_id: str) -> None:
    """Delete an endpoint, unless it is gone already; a worker that runs is ended first."""
    with suppress(EndpointGone):
        control.scale(endpoint_id, 0, 1)
        control.delete(endpoint_id)


def _named(control: Control, name: str) -> list[Endpoint]:
    return [endpoint for endpoint in control.every() if endpoint.name.removesuffix(_FLASHBOOT) == name]


def _name(settings: Settings, model_version: str) -> str:
    installation = installation_id((settings.home_path / LEDGER).parent)
    return pod_name(settings.pods.name, installation, job_key("endpoint", model_version)) + _SUFFIX


def _is_ours(settings: Settings, name: str) -> bool:
    """Return whether an endpoint's name is one that this installation gives."""
    installation = installation_id((settings.home_path / LEDGER).parent)
    key = key_of(settings.pods.name, installation, name.removesuffix(_SUFFIX))
    return name.endswith(_SUFFIX) and key is not None


def _deployed(ledger: EndpointLedger, endpoint_id: str) -> EndpointRow:
    row = ledger.deployed(endpoint_id)
    if row is None:
        raise UnknownEndpoint(f"This installation has deployed no endpoint {endpoint_id!r:.80}.")
    return row
