"""One run of labelling as a process of its own, to be killed: ``label_worker.py [SETTINGS]``, a JSON object."""

import json
import sys

from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.autolabel.run import Labelling
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database import Database

settings = load_settings(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"))
providers = open_providers(settings)
labelling = Labelling(Database.from_settings(settings), settings.home_path, settings, providers, utc_now)
report = labelling.label_posts()
for provider in providers.values():
    provider.close()
print(json.dumps({"faults": report.faults, "left": report.left, "usd": str(report.run.usd)}))
raise SystemExit(1 if report.faults else 0)
