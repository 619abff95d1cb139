"""Finding rows by the words in them."""
