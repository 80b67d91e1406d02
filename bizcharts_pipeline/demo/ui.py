"""Dagster UI of the demo: the service, with simulated hosts that run in real time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.demo.errors import DemoError
from bizcharts_pipeline.demo.hosts import simulated_hosts
from bizcharts_pipeline.demo.label_apis.oracle import Oracle, world_truth
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.labelling import MODEL_RIGHT, label_environment
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.service.serve import (
    check_port,
    dagster_lock,
    instance_lock,
    prepare_instance,
    programs,
    with_plain_log,
)
from bizcharts_pipeline.service.supervisor import Supervisor
from bizcharts_pipeline.settings import load_settings

HOST = "127.0.0.1"
LONGEST = timedelta(days=7)  # maximum time that one UI may stay open: archive and labels have no later posts
_WORLD = "world.json"


def remember_world(home: Path, world: World, days: int) -> None:
    """Store the parameters of the simulated world from which the demo in ``home`` was made."""
    content = {"seed": world.seed, "start": world.start.isoformat(), "days": days}
    write_atomically(home / _WORLD, json.dumps(content).encode())


def open_ui(home: Path, dagster_home: Path, port: int, say: Callable[[str], object]) -> None:
    """Serve the Dagster UI of the demo in ``home``, with running schedules, until Ctrl-C or SIGTERM.

    Raises:
        DemoError: there is no demo.
        ServiceError: the port is taken, or this demo's UI is already open.
    """
    world = _world(home)
    now = utc_now()
    with instance_lock(home), dagster_lock(dagster_home, home):
        check_port(HOST, port, "choose another one with --port")
        oracle = Oracle(world_truth(world, world.start, now + LONGEST), MODEL_RIGHT)
        with simulated_hosts(world, now + LONGEST) as hosts, SimulatedLabelApis(oracle) as apis:
            environment = with_plain_log(hosts.environment(home, dagster_home) | label_environment(apis), home)
            settings = load_settings(**hosts.settings(home), serve={"host": HOST, "port": port})
            prepare_instance(environment, dagster_home)
            say(
                f"The demo's Dagster UI, in some seconds: http://{HOST}:{port}/assets/fear_greed_index\n"
                "Ctrl-C stops it."
            )
            supervisor = Supervisor(
                programs(settings, home),
                environment,
                dagster_home,
                lambda line: say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}"),
                lambda: hosts.move_to(utc_now()),
            )
            supervisor.run()


def _world(home: Path) -> World:
    try:
        told = json.loads((home / _WORLD).read_bytes())
        return World(int(told["seed"]), datetime.fromisoformat(told["start"]), int(told["days"]))
    except FileNotFoundError:
        raise DemoError(f"There is no finished demo in {home}; run `make demo`") from None
    except (ValueError, KeyError, TypeError):
        raise DemoError(f"{home / _WORLD} cannot be read; run `make demo` to recreate the demo") from None
