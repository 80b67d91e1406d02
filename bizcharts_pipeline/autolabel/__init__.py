"""Labels by paid vision models: asked politely, paid once, never beyond the budget."""
