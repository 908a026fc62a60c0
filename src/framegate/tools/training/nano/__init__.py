"""How framegate/nano is trained, from generated video alone."""
