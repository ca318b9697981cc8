//! Signing backends, and the trust that judges what they sign.
