"""Several processes of one run: start-up, schedulers, and the connection between them."""
