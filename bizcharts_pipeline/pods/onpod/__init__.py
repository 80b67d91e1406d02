"""What is copied to a pod and runs there alone: the standard library of Python 3.10, nothing else."""
