"""What the proof refuses; a small tree of its own, because it imports nothing else."""


class ProofError(Exception):
    """The root: catch it to catch everything the proof raises on purpose."""


class Malformed(ProofError):
    """Bytes that are not what they should be: a note, a key, a leaf."""


class BadSignature(ProofError):
    """Well-formed, and not signed by the key that should have."""


class Forked(ProofError):
    """Two histories where there must be one."""


class Retired(ProofError):
    """A key that has named its successor and signs no more."""
