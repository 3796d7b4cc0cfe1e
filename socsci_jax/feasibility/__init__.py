"""What a recipe needs of a machine, before anything runs on it: memory, computation, time."""
