"""What the end-to-end cases are written with: kubectl, the installed operator, Stigmer, waiting."""
