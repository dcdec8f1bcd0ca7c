"""What each service's events say, as the audit remembers it: one file a service.

These rows are the audit's own, so that its answers rest on the log and not on what the
services it judges say of themselves. Each carries the id of the event behind it.
"""
