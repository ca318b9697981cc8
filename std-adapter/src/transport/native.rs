//! The core's ZMTP over TCP.
