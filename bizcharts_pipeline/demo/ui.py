"""The Dagster UI on the demo: its daemon and web server, and the simulated hosts, which go on in real time."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.clock import utc_now
from bizcharts_pipeline.demo.errors import DemoError
from bizcharts_pipeline.demo.hosts import simulated_hosts
from bizcharts_pipeline.demo.label_apis import SimulatedLabelApis
from bizcharts_pipeline.demo.label_oracle import Oracle, world_truth
from bizcharts_pipeline.demo.labelling import MODEL_RIGHT, label_environment
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.files import write_atomically
from bizcharts_pipeline.settings import REPOSITORY_ROOT

HOST = "127.0.0.1"
LONGEST = timedelta(days=7)  # that one UI may stay open: the archive and the labels know no later posts
CLOCK_SECONDS = 1.0
STOP_SECONDS = 20
_WORLD = "world.json"


def remember_world(home: Path, world: World, days: int) -> None:
    """Note which world the demo in ``home`` was made of."""
    content = {"seed": world.seed, "start": world.start.isoformat(), "days": days}
    write_atomically(home / _WORLD, json.dumps(content).encode())


def open_ui(home: Path, dagster_home: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the Dagster UI of the demo in ``home`` until Ctrl-C or SIGTERM; its schedules run.

    Raises:
        DemoError: there is no demo, the port is taken, or Dagster ended by itself.
    """
    world = _world(home)
    _require_free(port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C: Dagster ends with us
    now = utc_now()
    oracle = Oracle(world_truth(world, world.start, now + LONGEST), MODEL_RIGHT)
    with simulated_hosts(world, now + LONGEST) as hosts, SimulatedLabelApis(oracle) as apis:
        hosts.move_to(now)
        stopped = threading.Event()

        def follow_the_clock() -> None:
            while not stopped.wait(CLOCK_SECONDS):
                hosts.move_to(utc_now())

        threading.Thread(target=follow_the_clock, daemon=True).start()
        environment = hosts.environment(home, dagster_home) | label_environment(apis)
        log = dagster_home / "ui.log"
        with log.open("wb") as output:
            dagster = subprocess.Popen(
                [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", HOST, "-p", str(port)],
                cwd=REPOSITORY_ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we pass it on once
            )
        say(
            f"The demo's Dagster UI, in some seconds: http://{HOST}:{port}/assets/fear_greed_index\n"
            f"Its log: {log}. Ctrl-C stops it."
        )
        try:
            status = dagster.wait()
            raise DemoError(f"Dagster ended by itself with status {status}; {log} says why")
        except KeyboardInterrupt:
            say("Stopping.")
        finally:
            stopped.set()
            _stop(dagster)


def _world(home: Path) -> World:
    try:
        told = json.loads((home / _WORLD).read_bytes())
        return World(int(told["seed"]), datetime.fromisoformat(told["start"]), int(told["days"]))
    except FileNotFoundError:
        raise DemoError(f"There is no demo in {home}; `make demo` makes it") from None
    except (ValueError, KeyError, TypeError):
        raise DemoError(f"{home / _WORLD} cannot be read; `make demo` makes the demo anew") from None


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise DemoError(f"Port {port} is taken; choose another one with --port") from None


def _stop(dagster: subprocess.Popen[bytes]) -> None:
    if dagster.poll() is None:
        dagster.send_signal(signal.SIGINT)
        try:
            dagster.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            dagster.kill()
