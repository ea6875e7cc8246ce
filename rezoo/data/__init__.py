"""From a file or a table to arrays: reading, cleaning, splitting, features, sessions and histories."""
