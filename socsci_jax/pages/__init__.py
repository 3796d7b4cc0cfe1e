"""Self-contained HTML pages and SVG plots: one look, one script and one policy for every page that is written."""
