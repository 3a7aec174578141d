//! The admin listeners of a server that starts, and the line that says where they are.

use super::banner::{reachable, scheme};
use super::{ServeError, ServeOptions};
use crate::admin::{AdminListeners, AdminSocket};
use crate::http::{ListenError, bind};
use crate::tls::Tls;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

const FLAG: &str = "--admin-listen (off: none)";

/// The listener of the admin address, if there is one, before a core serves it.
pub struct Admin {
    address: Option<SocketAddr>,
    listener: Option<TcpListener>,
    tls: Option<Arc<Tls>>,
}

impl Admin {
    /// Takes the address. Fails if anybody has it.
    pub fn bind(options: &ServeOptions) -> Result<Self, ListenError> {
        let Some(wanted) = options.admin_listen else {
            return Ok(Self { address: None, listener: None, tls: None });
        };
        let listener = bind(wanted, 1, FLAG)?.pop();
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        Ok(Self { address: bound.or(Some(wanted)), listener, tls: None })
    }

    /// Returns the listeners for the core that serves them; the address speaks TLS if there is `tls`. It is
    /// called once.
    pub fn listeners(
        &mut self,
        socket: &AdminSocket,
        tls: Option<Arc<Tls>>,
    ) -> Result<AdminListeners, ServeError> {
        self.tls = tls.filter(|_| self.address.is_some());
        let socket = socket.listener().map_err(ServeError::Thread)?;
        Ok(AdminListeners { address: self.listener.take(), tls: self.tls.clone(), socket })
    }

    /// Returns the line that says where health and metrics are. `ServerProcess` of the tools reads it.
    pub fn line(&self, socket: &AdminSocket) -> String {
        let socket = socket.path().display();
        match self.address {
            Some(address) => {
                let scheme = scheme(self.tls.is_some());
                format!(
                    "Health and metrics are at {scheme}://{} and in the socket {socket}",
                    reachable(address)
                )
            }
            None => format!("Health and metrics are in the socket {socket}"),
        }
    }
}
