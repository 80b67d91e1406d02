"""Ways of training a text model, one a module: examples in, a model's files out."""
