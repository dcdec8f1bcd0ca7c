"""What the SDK is made of: ids, columns, a bounded queue and a thread that sends it.

Needs grpcio and protobuf, and nothing else.
"""
