"""What is looked at to tell whether a deployment is well: one file a subject."""
