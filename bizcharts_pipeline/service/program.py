"""One of Dagster's own programs with a plain log (:mod:`.plain_log`): ``python -m MODULE`` for Dagster's MODULE.

Run as ``python -m bizcharts_pipeline.service.program MODULE ARGUMENTS``.
"""

import runpy
import sys

from bizcharts_pipeline.core.private import make_private
from bizcharts_pipeline.service.plain_log import install_if_asked


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs Dagster's ``module`` with ``arguments``."""
    return [sys.executable, "-m", __name__, module, *arguments]


def main() -> None:
    """Run the module of Dagster named first in the arguments, with the others as its own."""
    make_private()
    install_if_asked()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # in a process for a run, before it loads anything of Dagster
    install_if_asked()
