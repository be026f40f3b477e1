"""What turns the model into a TorchServe archive and answers there."""
