"""Begins a container: writes its Dagster instance file, then runs the command.

The containers of runs get only the variables that their launcher names, so this names every setting and key that the
container has: what is in `.env` reaches the runs too.
"""

import os
import sys
from pathlib import Path

from bizcharts_pipeline.core.api_keys import API_KEYS

PARTS = (Path("dagster_home/dagster.yaml"), Path("deploy/dagster.lake.yaml"))  # the second ends with `env_vars:`

OTHERS = {*API_KEYS, "DAGSTER_POSTGRES_URL"}

names = sorted(name for name in os.environ if name.startswith(("BIZCHARTS_", "AWS_")) or name in OTHERS)
listed = "".join(f"      - {name}\n" for name in names)
instance = Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml"
instance.write_text("".join(part.read_text() for part in PARTS) + listed)
os.execvp(sys.argv[1], sys.argv[1:])
