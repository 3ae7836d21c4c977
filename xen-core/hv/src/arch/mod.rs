//! Processor-specific parts. There is one processor.
pub mod x86;
