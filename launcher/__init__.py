"""Starts TorchServe and the gateway together, and stops both: `make serve`, or `python -m launcher`."""
