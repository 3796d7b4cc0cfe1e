from socsci_jax.cli import main

main()
