"""A trained model in use: saved to a folder, reloaded anywhere, asked by raw ids."""
