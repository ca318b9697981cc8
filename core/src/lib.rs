#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod crypto;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "json")]
pub mod message;
pub mod zmtp;
