"""A home kept elsewhere, and a home made from that: see docs/backup.md."""
