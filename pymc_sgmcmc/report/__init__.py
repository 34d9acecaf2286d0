"""What ran, what was found, and whether it is to be trusted."""
