"""What depends on the hardware: the backend's kind and memory, and arrays on a mesh of devices."""
