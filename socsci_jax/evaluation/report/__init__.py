"""What an evaluation writes: pages to read, tables to compute with, figures for a paper."""
