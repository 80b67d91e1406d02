"""Whether Dagster's code server still takes orders: ``python -m bizcharts_pipeline.service.code_server SOCKET``.

It asks whether an unknown run can be cancelled, which needs the same lock as the start of a run. A code server that has
lost that lock for good (it was cancelling a run whose process had just died) still answers pings, and starts no run.
Exit status 0 if it answers, 1 if it does not. Nothing of Dagster is imported, as this is asked every minute.
"""

import json
import sys
from pathlib import Path

ANSWER_SECONDS = 60.0
METHOD = "/api.DagsterApi/CanCancelExecution"
_REQUEST = json.dumps({"__class__": "CanCancelExecutionRequest", "run_id": "none"}).encode()
MESSAGE = bytes([0x0A, len(_REQUEST)]) + _REQUEST  # field 1, a string of less than 128 bytes


def command(socket: Path) -> list[str]:
    """Return the command line that asks the code server at a UNIX ``socket``."""
    return [sys.executable, "-m", __name__, str(socket)]


def answers(socket: Path, seconds: float = ANSWER_SECONDS) -> bool:
    """Return whether the code server at ``socket`` answers within so many seconds."""
    import grpc  # type: ignore[import-untyped]  # which Dagster brings

    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            channel.unary_unary(METHOD)(MESSAGE, timeout=seconds)
        except grpc.RpcError:
            return False
    return True


def main() -> None:
    """Ask the code server named in the arguments."""
    sys.exit(0 if answers(Path(sys.argv[1])) else 1)


if __name__ == "__main__":
    main()
