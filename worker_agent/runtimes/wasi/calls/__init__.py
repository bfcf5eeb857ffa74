"""The functions of the host, by what they are about."""
