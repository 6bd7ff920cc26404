"""Scripts that ran published decoders once and stored what they gave; no test runs them."""
