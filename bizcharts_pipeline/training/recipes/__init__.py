"""Training recipes for text models, one per module: examples in, model files out."""
