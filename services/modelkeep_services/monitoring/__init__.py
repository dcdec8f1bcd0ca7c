"""Models at work: decisions logged and proven, windows closed, alerts raised."""
