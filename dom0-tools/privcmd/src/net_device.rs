//! Network interfaces: up, down, into a bridge, hardware address, a frame out; by the old `ioctl`s, which need no netlink.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::device;

/// `struct ifreq`: a name and a union of 24 bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct RawRequest {
    name: [u8; 16],
    union: [u8; 24],
}

const SIOCGIFFLAGS: u64 = 0x8913;
const SIOCSIFFLAGS: u64 = 0x8914;
const SIOCSIFADDR: u64 = 0x8916;
const SIOCSIFNETMASK: u64 = 0x891c;
const SIOCSIFMTU: u64 = 0x8922;
const SIOCSIFNAME: u64 = 0x8923;
const SIOCSIFHWADDR: u64 = 0x8924;
const SIOCGIFINDEX: u64 = 0x8933;
const SIOCBRADDBR: u64 = 0x89a0;
const SIOCBRADDIF: u64 = 0x89a2;
const SIOCBRDELIF: u64 = 0x89a3;
const IFF_UP: u16 = 1;
const ARPHRD_ETHER: u16 = 1;

/// A socket by which interfaces are changed.
#[derive(Debug)]
pub struct NetDevices {
    socket: File,
}

impl NetDevices {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: new_socket(libc::AF_INET, libc::SOCK_DGRAM)?,
        })
    }

    fn request(&self, number: u64, name: &str, union: &[u8]) -> io::Result<[u8; 24]> {
        let mut raw = named(name)?;
        raw.union[..union.len()].copy_from_slice(union);
        // SAFETY: private; every caller's request takes a `struct ifreq` without addresses in it.
        let result = unsafe { device::ioctl_with(&self.socket, number, &mut raw) };
        result.map_err(|error| io::Error::new(error.kind(), format!("interface {name}: {error}")))?;
        Ok(raw.union)
    }

    /// The interface's number.
    ///
    /// # Errors
    /// `ENODEV` where there is none of that name.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        let union = self.request(SIOCGIFINDEX, name, &[])?;
        Ok(u32::from_ne_bytes([union[0], union[1], union[2], union[3]]))
    }

    /// Switches the interface on or off.
    ///
    /// # Errors
    /// The kernel's, with the name.
    pub fn set_up(&self, name: &str, up: bool) -> io::Result<()> {
        let union = self.request(SIOCGIFFLAGS, name, &[])?;
        let flags = u16::from_ne_bytes([union[0], union[1]]);
        let flags = if up { flags | IFF_UP } else { flags & !IFF_UP };
        self.request(SIOCSIFFLAGS, name, &flags.to_ne_bytes()).map(|_| ())
    }

    /// Sets the hardware address.
    ///
    /// # Errors
    /// The kernel's, with the name.
    pub fn set_mac(&self, name: &str, mac: [u8; 6]) -> io::Result<()> {
        let mut address = [0; 8];
        address[..2].copy_from_slice(&ARPHRD_ETHER.to_ne_bytes());
        address[2..].copy_from_slice(&mac);
        self.request(SIOCSIFHWADDR, name, &address).map(|_| ())
    }

    /// Sets the size of the largest packet, in bytes.
    ///
    /// # Errors
    /// The kernel's, with the name.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        self.request(SIOCSIFMTU, name, &mtu.to_ne_bytes()).map(|_| ())
    }

    /// Gives the interface, which must be off, another name.
    ///
    /// # Errors
    /// The kernel's, with the name.
    pub fn rename(&self, name: &str, new: &str) -> io::Result<()> {
        let new = named(new)?;
        self.request(SIOCSIFNAME, name, &new.name).map(|_| ())
    }

    /// Sets the IPv4 address and the length of its network's prefix.
    ///
    /// # Errors
    /// The kernel's, with the name.
    pub fn set_address(&self, name: &str, address: [u8; 4], prefix: u8) -> io::Result<()> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
        self.request(SIOCSIFADDR, name, &inet(address))?;
        self.request(SIOCSIFNETMASK, name, &inet(mask.to_be_bytes()))
            .map(|_| ())
    }

    /// Makes a bridge.
    ///
    /// # Errors
    /// The kernel's, with the name; `EEXIST` where there is one.
    pub fn add_bridge(&self, name: &str) -> io::Result<()> {
        let mut raw = named(name)?;
        // SAFETY: the request takes the address of a name of 16 bytes, which `raw` begins with.
        let result = unsafe { device::ioctl_with(&self.socket, SIOCBRADDBR, &mut raw.name) };
        result
            .map(|_| ())
            .map_err(|error| io::Error::new(error.kind(), format!("bridge {name}: {error}")))
    }

    /// Puts an interface into a bridge.
    ///
    /// # Errors
    /// The kernel's, with the bridge's name; `EBUSY` where it is in one already.
    pub fn add_to_bridge(&self, bridge: &str, interface: &str) -> io::Result<()> {
        let index = self.index(interface)?;
        self.request(SIOCBRADDIF, bridge, &index.to_ne_bytes()).map(|_| ())
    }

    /// Takes an interface out of a bridge.
    ///
    /// # Errors
    /// The kernel's, with the bridge's name.
    pub fn remove_from_bridge(&self, bridge: &str, interface: &str) -> io::Result<()> {
        let index = self.index(interface)?;
        self.request(SIOCBRDELIF, bridge, &index.to_ne_bytes()).map(|_| ())
    }

    /// Sends an Ethernet frame, as it is, by an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, name: &str, frame: &[u8]) -> io::Result<()> {
        let mut to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: i32::try_from(self.index(name)?).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        if let Some(target) = frame.first_chunk::<6>() {
            to.sll_addr[..6].copy_from_slice(target);
        }
        let socket = new_socket(libc::AF_PACKET, libc::SOCK_RAW)?;
        let length = size_of_val(&to) as libc::socklen_t;
        // SAFETY: frame and address are live for the call, which only reads them, and have these lengths.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// A socket that hears nothing and ends with a program that this one becomes.
fn new_socket(family: c_int, kind: c_int) -> io::Result<File> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, owned by nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// `struct sockaddr_in` without a port.
fn inet(address: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as c_int as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&address);
    bytes
}

fn named(name: &str) -> io::Result<RawRequest> {
    let mut raw = RawRequest {
        name: [0; 16],
        union: [0; 24],
    };
    if name.is_empty() || name.len() >= raw.name.len() || name.contains(['/', '\0']) {
        let text = format!("\"{name}\" cannot be an interface's name: 1 to 15 characters without a slash can");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    raw.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_an_index_and_others_do_not() {
        let devices = NetDevices::open().unwrap();
        assert!(devices.index("lo").is_ok_and(|index| index > 0));
        let text = devices.index("nosuch0").unwrap_err().to_string();
        assert!(text.contains("nosuch0"), "{text}");
        assert!(devices.set_up("a-name-that-is-too-long", true).is_err());
    }
}
