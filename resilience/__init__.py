"""What the service promises under faults, overload and long use, tried on the real thing with a written report."""
