"""The agent: it contracts jobs from a control server and runs them in wasm sandboxes."""
