"""Fear/Greed index and coin sentiment from scored posts, with intervals."""

import os

# The matrices of one day are small: a second BLAS thread gains nothing on an idle machine, and on a busy one the two
# wait for each other (ten years' intervals took 92 s instead of 7). Must be set before numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
