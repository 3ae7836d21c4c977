//! `domctl`: control of domains by the toolstack. Only questions about domains are answered yet.

use super::Outcome;
use crate::domain::{self, Domain, Vcpu};
use crate::event;
use crate::guest::GuestPtr;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use zerocopy::FromZeros;

/// What `getdomaininfo` and `getdomaininfolist` say about a domain.
pub(super) fn describe(domain: &Domain) -> xen_domctl_getdomaininfo {
    let mut info = xen_domctl_getdomaininfo::new_zeroed();
    info.domain = domain.id;
    info.flags = XEN_DOMINF_running;
    if domain.shutting_down.load(Relaxed) {
        info.flags = XEN_DOMINF_shutdown | domain.shutdown_code.load(Relaxed) << XEN_DOMINF_shutdownshift;
    }
    info.tot_pages = domain.mm.tot_pages.load(Relaxed);
    info.max_pages = domain.mm.max_pages.load(Relaxed);
    info.shared_info_frame = event::shared_info_frame(domain).map_or(0, |mfn| mfn.0);
    info.nr_online_vcpus = domain.vcpus().filter(|v| v.initialised.load(Relaxed)).count() as u32;
    info.max_vcpu_id = domain.max_vcpus() - 1;
    info.gpaddr_bits = 0;
    info
}

/// The hypercall.
pub fn domctl(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_domctl>::new(args[0]);
    let mut request = at.read()?;
    if request.interface_version != XEN_DOMCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    match request.cmd {
        XEN_DOMCTL_getdomaininfo => {
            let domain = domain::find(request.domain)
                .filter(|d| !d.is_idle())
                .ok_or(Errno::ESRCH)?;
            request.set_payload(&describe(&domain));
            at.write(&request)?;
            Ok(0)
        }
        cmd => {
            crate::console::limited!(log::Level::Debug, "domctl {cmd} is not built yet");
            Err(Errno::ENOSYS.into())
        }
    }
}
