"""Generated protobuf stubs (sources: proto/ at the repository's root; `make generate`)."""
