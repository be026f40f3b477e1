"""The operator's side: the model's versions in a running TorchServe: `make models`, or `python -m operations`."""
