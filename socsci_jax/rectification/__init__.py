"""Tables in, a table out: predictions for many people and the answers of few become estimates with valid intervals."""
