"""Fake ``nvidia-smi`` and ``df`` for a simulated pod, which report the hardware that the machine should have."""

from pathlib import Path
from typing import Literal

Host = Literal["good", "no gpu", "old driver", "disk full"]

DRIVER, OLD_DRIVER = "580.95.05", "470.256.02"
MEMORY_MIB = 24_564
FREE_GB, FULL_GB = 200, 1
_NVIDIA_SMI = """\
#!/bin/sh
# Answers --query-gpu for any list of fields, and the plain call with a line that names the card.
for argument in "$@"; do
    case "$argument" in
        --query-gpu=*) fields=${{argument#--query-gpu=}} ;;
        --format=*nounits*) unit= ;;
        -L|--list-gpus) echo "GPU 0: {gpu} (UUID: GPU-00000000-demo)"; exit 0 ;;
    esac
done
if [ -z "$fields" ]; then
    echo "NVIDIA-SMI {driver}    Driver Version: {driver}    CUDA Version: 13.0"
    echo "|   0  {gpu}    |    0MiB / {memory}MiB |"
    exit 0
fi
line=
for field in $(echo "$fields" | tr , ' '); do
    case "$field" in
        name|gpu_name) value="{gpu}" ;;
        driver_version) value="{driver}" ;;
        memory.total) value="{memory}${{unit- MiB}}" ;;
        memory.free) value="{memory}${{unit- MiB}}" ;;
        memory.used) value="0${{unit- MiB}}" ;;
        index|count) value=0 ;;
        *) value="[N/A]" ;;
    esac
    line="${{line:+$line, }}$value"
done
echo "$line"
"""
_NONE = """\
#!/bin/sh
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver." >&2
exit 9
"""
_DF = """\
#!/bin/sh
# POSIX output (-P) in kilobytes, for any options.
for argument in "$@"; do
    case "$argument" in -*) ;; *) where=$argument ;; esac
done
echo "Filesystem     1024-blocks      Used Available Capacity Mounted on"
echo "overlay          {total}  {used}  {free}      {percent}% ${{where:-/}}"
"""


def install_programs(folder: Path, host: Host, gpu: str) -> None:
    """Write the simulated pod's programs into ``folder``, which must be first in the pod's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    driver = OLD_DRIVER if host == "old driver" else DRIVER
    smi = _NONE if host == "no gpu" else _NVIDIA_SMI.format(gpu=gpu, driver=driver, memory=MEMORY_MIB)
    free = (FULL_GB if host == "disk full" else FREE_GB) * 1024**2
    total = 2 * FREE_GB * 1024**2
    df = _DF.format(total=total, used=total - free, free=free, percent=100 * (total - free) // total)
    for name, script in (("nvidia-smi", smi), ("df", df)):
        path = folder / name
        path.write_text(script)
        path.chmod(0o755)
