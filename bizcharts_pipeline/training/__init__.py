"""What models are trained on, and how they are judged."""
