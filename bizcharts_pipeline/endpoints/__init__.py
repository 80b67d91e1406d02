"""A serverless worker at RunPod: its endpoint from the order to its end, its queue, and the reaper."""
