"""Durable runs: the interpreter as a Temporal workflow. The only place that imports temporalio."""
