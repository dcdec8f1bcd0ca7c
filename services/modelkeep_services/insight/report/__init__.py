"""A model's report: one HTML page of plots, tables and the events under them."""
