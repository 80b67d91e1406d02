"""A pod's life: rented, reached, put to work, watched, emptied and ended, whatever happens meanwhile."""
