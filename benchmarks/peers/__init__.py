"""The same weights behind other servers, side by side with ours: `make bench-peers`."""
