"""The compiled kernel of training: forward pass and gradients together, while what they share is in the cache."""
