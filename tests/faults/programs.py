"""What a person does at the installation's programs, as a stage of the fault matrix: functions without arguments, which
take the installation from the settings and raise SystemExit with a sentence if it could not be done."""

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from unittest.mock import patch

import requests

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.labels.offers import OfferFilters
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.web.auth import CSRF_HEADER
from bizcharts_pipeline.web.serve import serve_labeller

LABELS = 6
_SECONDS = 60


def label() -> None:
    """Label posts with the labelling page's requests until the labeller has given :data:`LABELS` labels."""
    said: list[str] = []

    def use(text: str) -> None:
        if text.startswith("http"):
            threading.Thread(target=_press_keys, args=(text.split()[0], said), daemon=True).start()

    try:
        serve_labeller(load_settings(), OfferFilters(labeller="carol", session="faults"), 0, say=use)
    except BizchartsError as error:
        said.append(str(error))
    sys.exit("\n".join(said) or None)


def _press_keys(address: str, said: list[str]) -> None:
    labeller = f"{address.partition('?')[0]}api/labeller"
    try:
        with requests.Session() as page:
            page.get(address, timeout=_SECONDS).raise_for_status()
            page.headers[CSRF_HEADER] = page.get(f"{labeller}/sitting", timeout=_SECONDS).json()["csrf"]
            view = page.get(f"{labeller}/view", timeout=_SECONDS).json()
            while (keys := view["progress"]["keys"]) < LABELS:
                if view["state"] != "ready":  # the posts are still being read
                    time.sleep(0.05)
                    view = page.get(f"{labeller}/view", timeout=_SECONDS).json()
                    continue
                thread = view["upcoming"][0]["thread_id"]
                label = {
                    "thread_id": thread,
                    "labeled_at": (utc_now() + timedelta(seconds=keys)).isoformat(),
                    "rating": thread % 3 + 1,
                    "seconds": 2.0,
                    "keys": keys,
                }
                answer = page.post(f"{labeller}/labels", json=label, timeout=_SECONDS)
                view = answer.json()
                if answer.status_code != 200:
                    said.append(view["error"])
                    return
    except requests.RequestException as error:
        said.append(f"{type(error).__name__}: {error}")
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def compact() -> None:
    """Rewrite the database without its free space, however little that is."""
    settings = load_settings()
    with patch("bizcharts_pipeline.warehouse.compact.FREE_BYTES", 0):
        try:
            Database.existing(settings).compact()
        except BizchartsError as error:
            sys.exit(str(error))
