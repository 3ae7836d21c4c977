//! What a port is bound to, and which requests that allows.

use xen_abi::Errno;

/// Virtual interrupts (`VIRQ_*`).
pub const NR_VIRQS: u32 = 24;

const VIRQ_TIMER: u32 = 0;
const VIRQ_DEBUG: u32 = 1;
const VIRQ_XENOPROF: u32 = 7;
const VIRQ_XENPMU: u32 = 13;

/// Whether the virtual interrupt is the domain's rather than one vcpu's: it binds to vcpu 0, and may move.
pub const fn virq_is_global(virq: u32) -> bool {
    !matches!(virq, VIRQ_TIMER | VIRQ_DEBUG | VIRQ_XENOPROF | VIRQ_XENPMU)
}

/// What a port is bound to; `D` is a handle of the domain at the other end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Binding<D> {
    /// Nothing: it may be allocated.
    #[default]
    Free,
    /// Waits for domain `from` to connect.
    Unbound {
        /// Who may connect.
        from: u16,
    },
    /// Connected to a port of a domain, maybe this one.
    Interdomain {
        /// The other domain.
        remote: D,
        /// Its number.
        id: u16,
        /// Its port.
        port: u32,
    },
    /// A physical interrupt.
    Pirq(u32),
    /// A virtual interrupt.
    Virq(u32),
    /// Signals from one vcpu to another.
    Ipi,
}

/// What `EVTCHNOP_status` tells of a port: `EVTCHNSTAT_*`, then the two words of the union.
pub type Status = (u32, u32, u32);

impl<D> Binding<D> {
    /// May it be allocated?
    pub const fn is_free(&self) -> bool {
        matches!(self, Binding::Free)
    }

    /// What `EVTCHNOP_status` tells.
    pub fn status(&self) -> Status {
        match self {
            Binding::Free => (0, 0, 0),
            Binding::Unbound { from } => (1, *from as u32, 0),
            Binding::Interdomain { id, port, .. } => (2, *id as u32, *port),
            Binding::Pirq(pirq) => (3, *pirq, 0),
            Binding::Virq(virq) => (4, *virq, 0),
            Binding::Ipi => (5, 0, 0),
        }
    }

    /// Whether domain `caller` may connect to it.
    ///
    /// # Errors
    /// `EINVAL` where it does not wait, or not for that domain.
    pub fn check_connect(&self, caller: u16) -> Result<(), Errno> {
        match self {
            Binding::Unbound { from } if *from == caller => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether the guest may choose the vcpu it notifies: not where the binding is one vcpu's.
    ///
    /// # Errors
    /// `EINVAL` where it may not.
    pub fn check_rebind(&self) -> Result<(), Errno> {
        match self {
            Binding::Unbound { .. } | Binding::Interdomain { .. } | Binding::Pirq(_) => Ok(()),
            Binding::Virq(virq) if virq_is_global(*virq) => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn only_the_named_domain_connects() {
        let b: Binding<()> = Binding::Unbound { from: 3 };
        assert_eq!(b.check_connect(3), Ok(()));
        assert_eq!(b.check_connect(4), Err(Errno::EINVAL));
        assert_eq!(Binding::<()>::Ipi.check_connect(3), Err(Errno::EINVAL));
    }

    #[test]
    fn a_vcpus_own_bindings_stay() {
        assert!(Binding::<()>::Ipi.check_rebind().is_err());
        assert!(Binding::<()>::Virq(VIRQ_TIMER).check_rebind().is_err());
        assert!(Binding::<()>::Virq(2).check_rebind().is_ok());
        assert!(Binding::<()>::Free.check_rebind().is_err());
    }

    /// A machine of domains whose ports follow the transitions that hv makes: each connection has two ends.
    #[derive(Debug)]
    struct Machine(Vec<Vec<Binding<usize>>>);

    impl Machine {
        fn alloc(&mut self, dom: usize, binding: Binding<usize>) -> usize {
            let free = self.0[dom].iter().skip(1).position(Binding::is_free).map(|p| p + 1);
            let port = free.unwrap_or_else(|| {
                self.0[dom].push(Binding::Free);
                self.0[dom].len() - 1
            });
            self.0[dom][port] = binding;
            port
        }

        fn connect(&mut self, dom: usize, remote: usize, port: usize) {
            let Some(there) = self.0[remote].get(port) else { return };
            if there.check_connect(dom as u16).is_err() {
                return;
            }
            let end = |d: usize, p: usize| Binding::Interdomain {
                remote: d,
                id: d as u16,
                port: p as u32,
            };
            let local = self.alloc(dom, end(remote, port));
            self.0[remote][port] = end(dom, local);
        }

        fn close(&mut self, dom: usize, port: usize) {
            let Some(slot) = self.0[dom].get_mut(port) else { return };
            if let Binding::Interdomain { remote, port, .. } = core::mem::take(slot) {
                self.0[remote][port as usize] = Binding::Unbound { from: dom as u16 };
            }
        }

        fn check(&self) -> Result<(), TestCaseError> {
            for (d, ports) in self.0.iter().enumerate() {
                for (p, b) in ports.iter().enumerate() {
                    if let Binding::Interdomain { remote, id, port } = b {
                        prop_assert_eq!(*remote, *id as usize);
                        let back = Binding::Interdomain {
                            remote: d,
                            id: d as u16,
                            port: p as u32,
                        };
                        prop_assert_eq!(&self.0[*remote][*port as usize], &back);
                        prop_assert_eq!(b.status().0, 2);
                    }
                }
                prop_assert!(ports[0].is_free());
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn connections_have_two_ends(ops in prop::collection::vec((0u8..4, 0usize..3, 0usize..3, 1usize..6), 0..100)) {
            let mut m = Machine(vec![vec![Binding::Free]; 3]);
            for (op, dom, other, port) in ops {
                match op {
                    0 => { m.alloc(dom, Binding::Unbound { from: other as u16 }); }
                    1 => m.connect(dom, other, port),
                    2 => m.close(dom, port),
                    _ => { m.alloc(dom, Binding::Virq(port as u32)); }
                }
                m.check()?;
            }
        }
    }
}
