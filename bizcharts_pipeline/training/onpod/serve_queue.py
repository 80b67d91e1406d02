"""Answers the jobs of a serverless endpoint as `serve_qwen.py` answers requests (see `queue_worker.py`).

    python serve_queue.py /models/qlora-1f2e3d4c5b6a

The folder is that of a registered model. Runs in the container of `deploy/serverless`.
"""

import argparse
import sys
from pathlib import Path

from outcome import exit_status
from queue_worker import Worker
from serve_qwen import Model, answered


def main() -> int:
    """Answer the jobs of a serverless endpoint with a trained adapter, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the registered model")
    arguments = parser.parse_args()
    try:
        model = Model(arguments.folder)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return exit_status(error)
    import runpod  # type: ignore[import-untyped]

    runpod.serverless.start({"handler": Worker(lambda body: answered(model, body))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
