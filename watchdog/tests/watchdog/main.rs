//! The watchdog from outside and from inside: its bytes, its verdict on virtual time, its hands on
//! real processes, and the built program.
#![cfg(test)]

mod bytes;
mod common;
mod hands;
mod process;
mod verdict;
