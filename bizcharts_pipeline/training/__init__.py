"""Data sets and recipes, and the pod jobs that train on a rented GPU."""
