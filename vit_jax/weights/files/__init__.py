"""Files of weights that nobody vouches for: npz, safetensors, downloads."""
