"""What is minimised: the rate of latents and networks, the distortion of the picture, and the loss."""
