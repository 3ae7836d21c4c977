//! Saving, restoring and moving domains, in the formats of Xen's own tools.

pub mod guest_list;
pub mod image;
pub mod libxl_config;
pub mod page_table;
pub mod progress;
pub mod receive;
pub mod receiver;
pub mod registers;
pub mod send;
pub mod sender;
pub mod suspend;
pub mod transport;

#[cfg(test)]
mod tests;

/// Whether a hypervisor does not have an operation at all.
fn is_not_there(error: &xenctrl::Error) -> bool {
    let errno = error.errno();
    errno == Some(xen_abi::Errno::ENOSYS) || errno == Some(xen_abi::Errno::EOPNOTSUPP)
}
