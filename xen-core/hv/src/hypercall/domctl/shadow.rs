//! `shadow_op`: the pages that a domain writes, for live migration.

use super::Request;
use crate::hypercall::Stop;
use crate::mm::logdirty;
use xen_abi::*;

/// Frames in a MiB.
const PER_MIB: u64 = 256;

/// All operations. A domain of ours has no other use for shadows than tracking.
pub(super) fn operate(r: &mut Request) -> Result<(), Stop> {
    let mut ask: xen_domctl_shadow_op = r.ask.payload();
    let domain = r.other()?;
    match ask.op {
        XEN_DOMCTL_SHADOW_OP_OFF => logdirty::disable(&domain)?,
        XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY => logdirty::enable(&domain, r.args)?,
        XEN_DOMCTL_SHADOW_OP_ENABLE if ask.mode == XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY => {
            logdirty::enable(&domain, r.args)?;
        }
        XEN_DOMCTL_SHADOW_OP_CLEAN => logdirty::round(&domain, r.args, &mut ask, true)?,
        XEN_DOMCTL_SHADOW_OP_PEEK => logdirty::round(&domain, r.args, &mut ask, false)?,
        XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION => ask.mb = logdirty::frames(&domain).div_ceil(PER_MIB) as u32,
        XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION => {
            logdirty::set_limit(&domain, ask.mb.saturating_mul(PER_MIB as u32));
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    r.ask.set_payload(&ask);
    Ok(())
}
