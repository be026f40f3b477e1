"""How fast the service is, beside the limit of its own parts and beside others: `make bench`."""
