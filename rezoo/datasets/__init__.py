"""Public data sets, each read from its authors' files, and the simulated shop."""
