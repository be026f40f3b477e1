"""The network, its weights and the one way a picture becomes its input.

Everything that classifies imports this package and nothing else of the project: the handler carries it inside the
archive, and the evaluation uses the same functions, so that what was measured is what is served.
"""
