"""What a paper's jobs are made of: sections that fill a book with cells, and the command that runs them."""
