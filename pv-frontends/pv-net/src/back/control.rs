//! The control ring of a frontend that makes one although none is offered: every request gets its answer, that it is not
//! supported.

use pv_hal::{Access, Channel, DomId, GrantRef, Hal, Port};
use pv_ring::Back;
use xen_abi::{XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED, xen_netif_ctrl_request, xen_netif_ctrl_response};

use crate::Error;
use crate::queues::Trouble;

pub(crate) struct Control<H: Hal> {
    ring: Back<H::Mapping, xen_netif_ctrl_request, xen_netif_ctrl_response>,
    channel: Channel<H>,
}

impl<H: Hal> Control<H> {
    pub(crate) fn new(hal: &H, peer: DomId, ring: GrantRef, port: Port) -> Result<Self, Error> {
        Ok(Self {
            ring: Back::new(hal.map(peer, &[ring], Access::ReadWrite)?),
            channel: Channel::bind(hal, peer, port)?,
        })
    }

    pub(crate) fn port(&self) -> Port {
        self.channel.port()
    }

    /// Answers what is there, at most one ring full; then asks for an event. True if there is more.
    pub(crate) fn serve(&mut self) -> Result<bool, Trouble> {
        self.channel.take_event();
        for _ in 0..self.ring.slot_count() {
            let Some(request) = self.ring.pop().map_err(|_| Trouble)? else {
                break;
            };
            self.ring.push(&xen_netif_ctrl_response {
                id: request.id,
                r#type: request.r#type,
                status: XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED,
                data: 0,
            });
        }
        if self.ring.publish() {
            self.channel.notify();
        }
        self.ring.arm().map_err(|_| Trouble)
    }
}
