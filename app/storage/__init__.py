"""Storage: the models and the engine that reads and writes them."""
