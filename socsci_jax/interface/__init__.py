"""The public Python interface, as `import socsci_jax as sj` gives it: a module for each kind of thing that is done."""
