"""Where models come from, and what rests on them."""
