"""Episodes, latents, checkpoints and images: what the learning code and the nodes share."""
