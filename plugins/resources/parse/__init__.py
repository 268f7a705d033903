"""What a client sent, as frozen values; every fault of it at once. Pure."""
