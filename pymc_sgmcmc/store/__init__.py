"""Where draws are kept while a run goes on: in memory, or in a store that outlives it."""
