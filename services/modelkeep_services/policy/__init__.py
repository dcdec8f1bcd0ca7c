"""What may happen to a model, who must agree, and why a verdict is what it is."""
