"""What this project says to Stigmer: the callback client and the operator's relay (docs/stigmer.md)."""
