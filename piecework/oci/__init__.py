"""Modules from and to OCI registries, in the layout of the CNCF's working group for wasm.

That layout is what wkg, Spin and wasmCloud write: a manifest with one layer, ``application/wasm``, and a config
that says what the component imports and exports. Older layouts are read as well.

The package ``oras`` would do most of it. It brings ``requests`` and ``jsonschema``, reads manifests and tokens of
any size into memory, and checks no digest of what it pulls. Here all that a registry sends is bounded, and checked
before it is used; connections, proxies and certificates are those of ``piecework.http``.
"""
