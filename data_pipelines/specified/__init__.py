"""From a study specification and its deposit's files to a study store."""
