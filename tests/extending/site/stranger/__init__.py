"""What somebody else may add to SVD UI, a file each."""
