"""The step that pm.sample sees."""
