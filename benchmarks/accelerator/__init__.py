"""Everything that is to be measured on an accelerator, the most valuable first; see __main__.py."""
