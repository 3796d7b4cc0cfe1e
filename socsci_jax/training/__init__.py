"""Fine-tuning over prompt trees: recipe, objectives, optimizer, step, checkpoints, loop."""
