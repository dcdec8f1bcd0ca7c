"""Which models run, how risky each is, who answers for it."""
