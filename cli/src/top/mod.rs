//! The live view of one host: what to show (a list of painted lines, made from the agent's status)
//! apart from how it is kept on the screen.

mod frame;
mod live;
mod parts;
mod services;

pub use frame::frame;
pub use live::live;

/// A frame that goes to a file or a pipe is as wide as a page.
pub const WIDTH_WITHOUT_TERMINAL: usize = 100;
