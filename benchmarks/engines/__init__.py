"""What could compute the network, side by side: `make bench-engines`."""
