//! For tests: a real listener, real connections, and a handler that says what reached it.

use super::*;
use crate::admin::{AdminListeners, AdminSocket};
use crate::auth::{Account, RequestContext};
use crate::identity::{Directory, Identity};
use crate::run::bell::{Bells, bells};
use crate::tls::{CoreTls, Tls};
use http_body_util::BodyExt;
use monoio::{FusionDriver, RuntimeBuilder};
use socket2::{Domain, Socket as Socket2, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

pub const LARGE_BYTES: usize = 8 << 20;

pub struct Echo {
    /// Ends the waiting of requests for `/wait`.
    go: Shutdown,
}

impl Handler for Echo {
    async fn call(&self, request: Request<s3s::Body>) -> Response<s3s::Body> {
        let path = request.uri().path().to_owned();
        if path == "/large" {
            return Response::new(s3s::Body::from(vec![7u8; LARGE_BYTES]));
        }
        match path.as_str() {
            "/wait" => self.go.requested().await,
            "/go" => self.go.request(),
            _ => {}
        }
        let context = request.extensions().get::<RequestContext>().unwrap().clone();
        context.pace.allowed("b");
        let host = request.headers().get("host").map_or("", |host| host.to_str().unwrap()).to_owned();
        let text = match request.into_body().collect().await {
            Ok(body) => format!("{path} {} {host} {}", body.to_bytes().len(), context.request_id),
            Err(_) => {
                let mut response = Response::new(s3s::Body::from("no".to_owned()));
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                return response;
            }
        };
        Response::new(s3s::Body::from(text))
    }

    fn is_for_anybody<B>(&self, request: &Request<B>) -> bool {
        request.uri().path() == "/anybody"
    }

    fn headers_beside<B>(&self, request: &Request<B>) -> Option<HeaderMap> {
        let origin = request.headers().get("origin")?.clone();
        let mut headers = HeaderMap::new();
        headers.insert("vary", http::HeaderValue::from_static("Origin"));
        headers.insert("x-beside", origin);
        Some(headers)
    }

    fn bucket_of<B>(&self, request: &Request<B>) -> Option<String> {
        request.uri().path().split('/').nth(1).map(str::to_owned)
    }

    async fn metrics(&self) -> Option<NodeMetrics> {
        Some(NodeMetrics::default())
    }

    fn core(&self) -> Option<&Core> {
        None
    }

    fn requests(&self) -> Vec<(&'static str, u64)> {
        vec![("Echo", 1)]
    }
}

/// One core's server, with the admin listeners beside it.
pub struct Server {
    address: SocketAddr,
    admin_address: SocketAddr,
    admin_socket: AdminSocket,
    _directory: tempfile::TempDir,
    pub stop: Bells,
    thread: Option<JoinHandle<usize>>,
}

impl Server {
    /// `open`: its node is open.
    pub fn start(limits: Limits, open: bool) -> Self {
        Self::start_with(limits, open, None)
    }

    /// With `tls`, both listeners speak it.
    pub fn start_with(limits: Limits, open: bool, tls: Option<Arc<Tls>>) -> Self {
        let listen = || bind("127.0.0.1:0".parse().unwrap(), 1, "--listen").unwrap().remove(0);
        let (listener, admin_listener) = (listen(), listen());
        let (address, admin_address) = (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let admin_socket = AdminSocket::bind(directory.path()).unwrap();
        let admin = AdminListeners {
            address: Some(admin_listener),
            tls: tls.clone(),
            socket: admin_socket.listener().unwrap(),
        };
        let (stop, mut receivers) = bells(1).unwrap();
        let receiver = receivers.remove(0);
        let thread = std::thread::spawn(move || {
            let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build().unwrap();
            runtime.block_on(async move {
                let traffic = Traffic::of_cores(1).remove(0);
                let authenticator =
                    Authenticator::new(Identity::fixed(Directory::of_root(&account())), "us-east-1".into());
                let server =
                    HttpServer::new(limits, authenticator, RequestIds::new(1), Rc::new(|| {}), traffic);
                let server = Rc::new(server.with_tls(tls.map(CoreTls::new)));
                if open {
                    assert!(server.handler.set(Echo { go: Shutdown::default() }).is_ok());
                }
                let server_stops = server.clone();
                monoio::spawn(async move {
                    receiver.rung().await.unwrap();
                    server_stops.shutdown.request();
                });
                monoio::spawn(crate::admin::serve(server.clone(), admin));
                accept_until_stopped(server.clone(), listener).await.unwrap();
                drain(&server, Duration::from_secs(10)).await
            })
        });
        let _directory = directory;
        Self { address, admin_address, admin_socket, _directory, stop, thread: Some(thread) }
    }

    /// The path of the admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        Path::new(self.admin_socket.path()).to_owned()
    }

    pub fn connect_admin(&self) -> Client {
        Client::to(self.admin_address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// Connects from another address of this machine, so as another client.
    pub fn connect_from(&self, address: [u8; 4]) -> Client {
        let socket = Socket2::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::over(socket.into())
    }

    /// How many connections had to be cut off.
    pub fn stop(mut self) -> usize {
        self.stop.ring();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.ring();
    }
}

fn account() -> Account {
    Account {
        access_key: "key".into(),
        secret_key: "secret".to_owned().into(),
        canonical_id: "1".into(),
        display_name: String::new(),
        email: String::new(),
    }
}

pub struct Client<S = TcpStream>(pub BufReader<S>);

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or_else(|| panic!("no header {name}"), |(_, value)| value)
    }
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Nothing more comes from this side; answers can still be read.
    pub fn half_close(&mut self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, text: &str) -> &mut Self {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        self
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn answer(&mut self) -> Answer {
        let status = self.line().split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        answer.body = vec![0; answer.header("content-length").parse().unwrap()];
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    pub fn closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}
