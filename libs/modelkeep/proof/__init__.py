"""The proof: a Merkle log, signed checkpoints and an offline verifier.

Stands alone, so that an examiner can run it without the system it judges: nothing here
imports the rest of Modelkeep, and only signatures need a package (`cryptography`).
"""
