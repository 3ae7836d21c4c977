//! What a domain's frames are used as: for tools that save it.

use super::Request;
use crate::guest::GuestPtr;
use crate::mm::{Mfn, pages};
use xen_abi::*;

/// Frames that may be asked about in one call, which is so short enough.
const MAX_FRAMES: u64 = 1024;

/// Replaces each frame number of the list by the frame's type.
pub(super) fn type_info(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_getpageframeinfo3 = r.ask.payload();
    let domain = r.domain()?;
    if ask.num > MAX_FRAMES {
        return Err(Errno::E2BIG);
    }
    let list = GuestPtr::<u64>::new(ask.array);
    for n in 0..ask.num {
        let mfn = Mfn(list.at(n).read()?);
        list.at(n).write(&pages::type_info(&domain, mfn))?;
    }
    Ok(())
}
