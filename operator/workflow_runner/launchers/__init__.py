"""Pure manifests of what the operator launches. Called by reconcile; no I/O."""
