"""From the study store to batches of prompt trees: tokenizers, tries, training shards, the batch plan, loading."""
