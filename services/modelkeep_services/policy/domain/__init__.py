"""What policy decides in its own streams: bundles, requests and exceptions."""
