"""From CIFAR-10 to served weights: data, recipe, training, evaluation, plots. Nothing that serves imports this."""
