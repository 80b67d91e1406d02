"""Training data sets, text-model recipes, and pod jobs that train on a rented GPU."""
