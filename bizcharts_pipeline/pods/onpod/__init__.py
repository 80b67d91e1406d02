"""Files that are copied to a pod and run there, with only the standard library of Python 3.10."""
