"""The host's functions for keys and values, which core modules of every interface may import."""

KV_INTERFACE = "piecework"
KV_FUNCTIONS = {
    "kv_get": "iiiii>i",
    "kv_set": "iiiiiiiIiii>i",
    "kv_add": "iiiiIIi>i",
    "kv_delete": "iiiiiii>i",
    "kv_keys": "iiiiiii>i",
    "kv_answer": "ii>i",
}
"""Their types."""
