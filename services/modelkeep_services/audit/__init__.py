"""Read-only: proofs, why, as-of. It asks the log, and is believed by nobody."""
