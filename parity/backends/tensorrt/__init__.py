"""TensorRT in a process of its own: this side of the conversation; ``parity.worker`` is the other."""
