"""What opens the files that Regraft writes: models, readers, and the matrix of both."""
