"""A code location with one asset, which trains for seconds on a pod as `qlora_adapter` does for hours."""

import json
import os
from pathlib import Path

import dagster as dg
from quick_orchestrator import quick_job, settings_of

from assets.on_pod import pod_metadata, run_on_pod
from assets.qlora_adapter import POOL
from resources.pods import RunPodResource

HOME = Path(os.environ["QUICK_HOME"])
ORDERS = json.loads((HOME / "orders.json").read_text())


@dg.asset(pool=POOL)
def quick_adapter(context: dg.AssetExecutionContext, runpod: RunPodResource) -> dg.MaterializeResult:
    from resources.pod_watch import watched

    with watched(context) as watch:
        job = quick_job(HOME, 0, ORDERS["trainings"][0])
        finished = run_on_pod(runpod, job, watch, HOME / "results" / "0", context.run.run_id, 10)
    return dg.MaterializeResult(metadata=pod_metadata(finished, watch, HOME))


definitions = dg.Definitions(
    assets=[quick_adapter],
    jobs=[dg.define_asset_job("quick", dg.AssetSelection.assets(quick_adapter))],
    resources={"runpod": RunPodResource.from_settings(settings_of(HOME, ORDERS))},
    executor=dg.in_process_executor,
)
