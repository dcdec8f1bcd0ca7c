"""Who answers: the five services, what is computed across them, and the command."""
