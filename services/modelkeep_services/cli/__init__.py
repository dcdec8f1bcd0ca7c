"""The command's rooms: one file a question that a person asks at a terminal."""
