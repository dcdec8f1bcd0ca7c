"""Views across services: health, budgets, KPIs, delivery, what to do first."""
