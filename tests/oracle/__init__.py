"""The oracle: fixtures that hold what Transformers 4.53.3 computes, and the scripts that make them."""
