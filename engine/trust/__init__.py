"""Which images may be used: rules of an administrator or user, and signatures of sigstore that satisfy them."""
